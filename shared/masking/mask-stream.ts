import { limits } from "../limits.ts";
import type { Patterns } from "./patterns.ts";
import type { View } from "./view.ts";
import { viewsOf } from "./views.ts";

/** A text on its way through, a chunk at a time. What comes out in all is as long as what went in. */
export interface MaskStream {
  /** What of the text so far can be said for sure; the rest comes with what follows. The bytes are the caller's. */
  push(chunk: Uint8Array): Uint8Array;
  /** The rest: nothing follows. A form that the text breaks off in is masked from 8 of its bytes on. */
  end(): Uint8Array;
}

type Range = readonly [start: number, end: number];

const mask = 0x2a;
const breaks: ReadonlySet<number> = new Set([10, 13]);

/**
 * Replaces every byte of every form of a secret by `*`, whatever the chunks are; line breaks stay. What is held back is
 * only what could be the beginning of a form.
 * @param onFound told, by name, of each secret that is seen; of one occurrence perhaps several times
 */
export function maskStream(patterns: Patterns, onFound: (secret: string) => void = () => {}): MaskStream {
  /** What was given out just before, for whoever must know it to read on, and then what was held back. */
  let kept = Buffer.alloc(0);
  let given = 0;
  /** Of what was held back, by places in `kept`. */
  let ranges: readonly Range[] = [];

  function take(chunk: Uint8Array, isWhole: boolean): Uint8Array {
    const text = kept.length === 0 ? Buffer.from(chunk) : Buffer.concat([kept, chunk]);
    const found = [...ranges];
    let sure = text.length;
    for (const view of viewsOf(text, isWhole ? "whole" : "open")) {
      patterns.scan(view.symbols, view.windows, (secret, first, end) => {
        const range = [view.startOf(first), view.endOf(end - 1)] as const;
        if (range[1] <= given) return; // seen before
        add(found, range);
        onFound(secret);
      });
      if (isWhole) blotBeginning(view, text, found);
      else sure = Math.min(sure, pendingRange(view).start);
    }
    // What breaks off may do so within an escape, which is then no character of the form that it belongs to.
    if (isWhole) for (const view of viewsOf(text, "cut")) blotBeginning(view, text, found);
    return give(text, Math.max(given, sure), found);
  }

  /** Where what may be a beginning of a form starts, and of how many symbols it is. */
  function pendingRange({ symbols, startOf, openFrom }: View): { readonly start: number; readonly symbols: number } {
    const first = patterns.pendingFrom(symbols);
    return { start: first < symbols.length ? startOf(first) : openFrom, symbols: symbols.length - first };
  }

  function blotBeginning(view: View, text: Buffer, found: Range[]): void {
    const { start, symbols } = pendingRange(view);
    if (symbols >= limits.maskedValueBytesMin) add(found, [start, text.length]);
  }

  function give(text: Buffer, sure: number, found: readonly Range[]): Uint8Array {
    const out = Buffer.from(text.subarray(given, sure));
    for (const [start, end] of found) blot(out, start - given, end - given);
    let from = Math.max(0, sure - limits.maskingContextBytes);
    while (from < sure && text[from - 1] === 0x5c) from += 1; // in the midst of backslashes nobody knows which escape which
    ranges = found.filter(([, end]) => end > sure).map(([start, end]) => [start - from, end - from]);
    kept = Buffer.from(text.subarray(from));
    given = sure - from;
    return out;
  }

  return {
    push: (chunk) => take(chunk, false),
    end: () => take(new Uint8Array(), true),
  };
}

/** A text of which only the line breaks are left. */
export function blotted(text: Uint8Array): Uint8Array {
  const out = Buffer.from(text);
  blot(out, 0, out.length);
  return out;
}

/** In a text of repetitions, a form may be at each of its bytes: what goes on with the range before is put to it. */
function add(ranges: Range[], [start, end]: Range): void {
  const last = ranges.at(-1);
  if (last === undefined || start < last[0] || start > last[1]) ranges.push([start, end]);
  else if (end > last[1]) ranges[ranges.length - 1] = [last[0], end];
}

/** Between two places, as far as they are in the text. */
function blot(text: Uint8Array, start: number, end: number): void {
  for (let index = Math.max(0, start); index < Math.min(end, text.length); index += 1) {
    if (!breaks.has(text[index] as number)) text[index] = mask;
  }
}

import { limits } from "../limits.ts";
import type { Patterns } from "./patterns.ts";
import { type View, viewsOf } from "./views.ts";

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
    const found: Range[] = [...ranges];
    let sure = text.length;
    for (const view of viewsOf(text, isWhole)) {
      patterns.scan(view.symbols, (secret, first, end) => {
        const range = [view.startOf(first), view.endOf(end - 1)] as const;
        if (range[1] <= given) return; // seen before
        found.push(range);
        onFound(secret);
      });
      const pending = pendingRange(view);
      if (!isWhole) sure = Math.min(sure, pending[0]);
      else if (pending[2] >= limits.maskedValueBytesMin) found.push([pending[0], text.length]);
    }
    return give(text, Math.max(given, sure), found);
  }

  /** Where what may be a beginning starts, where it ends, and of how many symbols it is. */
  function pendingRange(view: View): readonly [start: number, end: number, symbols: number] {
    const first = patterns.pendingFrom(view.symbols);
    const { length } = view.symbols;
    return [first < length ? view.startOf(first) : view.openFrom, view.openFrom, length - first];
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

/** Between two places, as far as they are in the text. */
function blot(text: Uint8Array, start: number, end: number): void {
  for (let index = Math.max(0, start); index < Math.min(end, text.length); index += 1) {
    if (!breaks.has(text[index] as number)) text[index] = mask;
  }
}

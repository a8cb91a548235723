import { placeInOrder } from "../place-in-order.ts";
import { formsOf, piecesOf } from "./forms.ts";

/** A value that must not be seen, by its name. */
export interface NamedSecret {
  readonly name: string;
  readonly value: Uint8Array;
}

/** Told of an occurrence: of which secret, from where up to where. */
export type OnFound = (secret: string, start: number, end: number) => void;

/** What to look for in a text, made once for a task. */
export interface Patterns {
  readonly isEmpty: boolean;
  /** Tells of every occurrence of every pattern, in the order of their starts. */
  scan(text: Uint8Array, onFound: OnFound): void;
  /**
   * Where the longest end of the text begins that could be the beginning of a pattern, less than the whole of it; the
   * text's length when there is none.
   */
  pendingFrom(text: Uint8Array): number;
}

interface Pattern {
  readonly bytes: Buffer;
  readonly secret: string;
}

/** Bits of the filter for each pattern: one position in thirty passes it by chance. */
const filterSlots = 32;

/**
 * Finds patterns by their first four bytes: a filter that fits the processor's cache turns nearly every position of a text
 * away, a map finds the candidates of the rest, and those are compared. An automaton over all bytes of all forms does the
 * same in one step a byte, but a private key of 3 KiB alone would be 40,000 states and several MiB; this needs some
 * hundred bytes a pattern. Patterns have a bounded length, so the work on each position has a bound.
 */
export function compilePatterns(secrets: readonly NamedSecret[]): Patterns {
  const patterns = distinctPatterns(secrets);
  const bits = Math.max(12, Math.ceil(Math.log2(patterns.length * filterSlots + 1)));
  const shift = 32 - Math.min(24, bits);
  const filter = new Uint8Array(2 ** (32 - shift));
  const byStart = new Map<number, Pattern[]>();
  for (const pattern of patterns) {
    const key = pattern.bytes.readInt32BE(0);
    filter[Math.imul(key, multiplier) >>> shift] = 1;
    byStart.set(key, [...(byStart.get(key) ?? []), pattern]);
  }
  const sorted = patterns.map(({ bytes }) => bytes).sort(Buffer.compare);
  const firstBytes = new Uint8Array(256);
  for (const [first = 0] of sorted) firstBytes[first] = 1;
  const longest = Math.max(0, ...sorted.map((bytes) => bytes.byteLength));

  /** Whether a pattern begins with this and goes on after it. */
  function isBeginning(text: Uint8Array): boolean {
    const next = sorted[placeInOrder(sorted, (pattern) => Buffer.compare(pattern, text) <= 0)];
    return next !== undefined && Buffer.compare(next.subarray(0, text.byteLength), text) === 0;
  }

  return {
    isEmpty: patterns.length === 0,
    scan(text, onFound) {
      if (patterns.length === 0) return;
      const { length } = text;
      let key = 0;
      for (let index = 0; index < length; index += 1) {
        key = (key << 8) | (text[index] as number);
        if (filter[Math.imul(key, multiplier) >>> shift] === 0 || index < 3) continue;
        const start = index - 3;
        for (const { bytes, secret } of byStart.get(key) ?? []) {
          if (isAt(text, start, bytes)) onFound(secret, start, start + bytes.byteLength);
        }
      }
    },
    pendingFrom(text) {
      for (let start = Math.max(0, text.length - longest + 1); start < text.length; start += 1) {
        if (firstBytes[text[start] as number] === 1 && isBeginning(text.subarray(start))) return start;
      }
      return text.length;
    },
  };
}

/** Of the golden ratio: spreads keys that differ in few bits. */
const multiplier = 0x9e37_79b1;

/** @param start where its first four bytes are known to be */
function isAt(text: Uint8Array, start: number, pattern: Uint8Array): boolean {
  if (start + pattern.length > text.length) return false;
  for (let index = 4; index < pattern.length; index += 1) {
    if (text[start + index] !== pattern[index]) return false;
  }
  return true;
}

/** A text that stands for two secrets is the first one's. */
function distinctPatterns(secrets: readonly NamedSecret[]): Pattern[] {
  const patterns = new Map<string, Pattern>();
  for (const { name, value } of secrets) {
    for (const piece of formsOf(value).flatMap(piecesOf)) {
      const bytes = Buffer.from(piece);
      const key = bytes.toString("latin1");
      if (!patterns.has(key)) patterns.set(key, { bytes, secret: name });
    }
  }
  return [...patterns.values()];
}

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
  /**
   * Tells of every occurrence of every pattern, in the order of their starts.
   * @param windows where to look, from each first number up to the second; in order
   */
  scan(text: Uint8Array, windows: readonly number[], onFound: OnFound): void;
  /**
   * Where the longest end of the text begins that could be the beginning of a pattern, less than the whole of it; the
   * text's length when there is none.
   */
  pendingFrom(text: Uint8Array): number;
}

/** Bits of the filter for each pattern: one position in thirty passes it by chance. */
const filterSlots = 32;
/** The filter is to fit the processor's cache. */
const filterBitsMax = 20;

/**
 * Finds patterns by their first four bytes: a filter that fits the processor's cache turns nearly every position of a text
 * away, and of the patterns in order, those with these four bytes stand together. The last of them that is not after the
 * text is the longest one there, or begins with it; so a position costs a search by halves, however many secrets begin
 * alike. An automaton over all bytes of all forms needs one step a byte, but a private key of 3 KiB alone would be 40,000
 * states and several MiB; this needs some hundred bytes a pattern.
 */
export function compilePatterns(secrets: readonly NamedSecret[]): Patterns {
  const { count, arena, starts, secretOf } = arrangePatterns(secrets);
  const begins = longestBeginnings();
  const bits = Math.min(filterBitsMax, Math.max(12, Math.ceil(Math.log2(count * filterSlots + 1))));
  const shift = 32 - bits;
  const filter = new Uint8Array(2 ** bits);
  const firstBytes = new Uint8Array(256);
  /** By their first four bytes: the first of them, and the one after the last. */
  const groups = new Map<number, { readonly first: number; end: number }>();
  let longest = 0;
  for (let pattern = 0; pattern < count; pattern += 1) {
    const start = startOf(pattern);
    const key = arena.readInt32BE(start);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, { first: pattern, end: pattern + 1 });
    else group.end = pattern + 1;
    filter[Math.imul(key, multiplier) >>> shift] = 1;
    firstBytes[arena[start] as number] = 1;
    longest = Math.max(longest, startOf(pattern + 1) - start);
  }

  function startOf(pattern: number): number {
    return starts[pattern] as number;
  }

  /** How many bytes of the pattern are in the text from here on: as many as it has, when it is there. */
  function common(pattern: number, text: Uint8Array, at: number): number {
    const start = startOf(pattern);
    const length = startOf(pattern + 1) - start;
    let same = 0;
    while (same < length && at + same < text.length && arena[start + same] === text[at + same]) same += 1;
    return same;
  }

  function isAt(pattern: number, text: Uint8Array, at: number): boolean {
    return common(pattern, text, at) === startOf(pattern + 1) - startOf(pattern);
  }

  /** Of these patterns, the first that comes after the text from here on; a text comes before what it is the beginning of. */
  function firstAfter(text: Uint8Array, at: number, first: number, end: number): number {
    let [low, high] = [first, end];
    while (low < high) {
      const middle = (low + high) >>> 1;
      const same = common(middle, text, at);
      const start = startOf(middle);
      const isAfter =
        start + same < startOf(middle + 1) &&
        (at + same >= text.length || (arena[start + same] as number) > (text[at + same] as number));
      if (isAfter) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** For each pattern the longest other one that it begins with; -1 for none. */
  function longestBeginnings(): Int32Array {
    const found = new Int32Array(count);
    for (let pattern = 0; pattern < count; pattern += 1) {
      const text = arena.subarray(startOf(pattern), startOf(pattern + 1));
      let before = pattern - 1;
      while (before >= 0 && !isAt(before, text, 0)) before = found[before] as number;
      found[pattern] = before;
    }
    return found;
  }

  /** @param key the first four bytes there */
  function tellOf(key: number, text: Uint8Array, at: number, onFound: OnFound): void {
    const group = groups.get(key);
    if (group === undefined) return;
    let pattern = firstAfter(text, at, group.first, group.end) - 1;
    while (pattern >= group.first && !isAt(pattern, text, at)) pattern = begins[pattern] as number;
    for (; pattern >= group.first; pattern = begins[pattern] as number) {
      onFound(secretOf[pattern] as string, at, at + startOf(pattern + 1) - startOf(pattern));
    }
  }

  return {
    isEmpty: count === 0,
    scan(text, windows, onFound) {
      if (count === 0) return;
      for (let window = 0; window < windows.length; window += 2) {
        const from = windows[window] as number;
        const end = Math.min(windows[window + 1] as number, text.length);
        let key = 0;
        for (let index = from; index < end; index += 1) {
          key = (key << 8) | (text[index] as number);
          if (filter[Math.imul(key, multiplier) >>> shift] === 0 || index < from + 3) continue;
          tellOf(key, text, index - 3, onFound);
        }
      }
    },
    pendingFrom(text) {
      for (let at = Math.max(0, text.length - longest + 1); at < text.length; at += 1) {
        if (firstBytes[text[at] as number] === 0) continue;
        const next = firstAfter(text, at, 0, count);
        if (next < count && common(next, text, at) === text.length - at) return at;
      }
      return text.length;
    },
  };
}

/** Of the golden ratio: spreads keys that differ in few bits. */
const multiplier = 0x9e37_79b1;

/** Patterns in the order of their bytes, one behind the other: there may be some 100,000. */
interface ArrangedPatterns {
  readonly count: number;
  readonly arena: Buffer;
  /** Where each begins, and at last where the last one ends. */
  readonly starts: Int32Array;
  readonly secretOf: readonly string[];
}

/** A text that stands for two secrets is the first one's. */
function arrangePatterns(secrets: readonly NamedSecret[]): ArrangedPatterns {
  const patterns = new Map<string, string>();
  for (const { name, value } of secrets) {
    for (const piece of formsOf(value).flatMap(piecesOf)) {
      if (!patterns.has(piece)) patterns.set(piece, name);
    }
  }
  const sorted = [...patterns.keys()].sort();
  const starts = new Int32Array(sorted.length + 1);
  sorted.forEach((piece, index) => {
    starts[index + 1] = (starts[index] as number) + piece.length;
  });
  const secretOf = sorted.map((piece) => patterns.get(piece) ?? "");
  return { count: sorted.length, arena: Buffer.from(sorted.join(""), "latin1"), starts, secretOf };
}

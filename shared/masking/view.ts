import { limits } from "../limits.ts";

/**
 * A text as some reader would read it: `%2F` is a slash, `\n` a new line. Symbols are bytes, and each knows where in the
 * text it was written.
 */
export interface View {
  readonly symbols: Uint8Array;
  /** Where to look for patterns, from each first number up to the second: elsewhere it reads as what it was made from. */
  readonly windows: readonly number[];
  /** Where the symbol's writing begins. */
  startOf(symbol: number): number;
  /** Where it ends. */
  endOf(symbol: number): number;
  /** From here on the text may be read in several ways, depending on what comes next; its length when it is not open. */
  readonly openFrom: number;
}

/** The text as it is. */
export function plainView(symbols: Uint8Array): View {
  const { length } = symbols;
  return {
    symbols,
    windows: [0, length],
    startOf: (symbol) => symbol,
    endOf: (symbol) => symbol + 1,
    openFrom: length,
  };
}

/** A view of a view, made from its beginning to its end by saying what becomes of it. */
export interface Rewriting {
  /** These symbols, from one place of the base to another, stand for others, of which there are no more. */
  replace(start: number, end: number, symbols: readonly number[]): void;
  /** @param openAt place of the base from which on more of it must be known; left out when there is none */
  finish(openAt?: number): View;
}

/** Numbers for each replacement: its symbols begin and end there, and stand for what is from there to there in the base. */
const markNumbers = 4;
/** A pattern that has a symbol in common with a replacement begins and ends within so many symbols of it. */
const reach = limits.maskedPieceBytes - 1;
/** Up to here a loop copies faster than a call does. */
const shortCopy = 64;

export function rewriting(base: View): Rewriting {
  const from = base.symbols;
  const symbols = new Uint8Array(from.length);
  const marks: number[] = [];
  const windows: number[] = [];
  let count = 0;
  let copiedTo = 0;

  function copyTo(end: number): void {
    if (end - copiedTo > shortCopy) symbols.set(from.subarray(copiedTo, end), count);
    else for (let at = copiedTo; at < end; at += 1) symbols[count + at - copiedTo] = from[at] as number;
    count += end - copiedTo;
  }

  function look(start: number, end: number): void {
    const last = windows.length - 1;
    if (last > 0 && start <= (windows[last] as number)) windows[last] = end;
    else windows.push(Math.max(0, start), end);
  }

  /** Of the replacements that begin at the symbol or before it, the last. */
  function markBefore(symbol: number): number {
    let [low, high] = [0, marks.length / markNumbers];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((marks[middle * markNumbers] as number) <= symbol) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** The symbols of the base that a symbol stands for: from one place to another. */
  function originOf(symbol: number): readonly [start: number, end: number] {
    const mark = markBefore(symbol) * markNumbers;
    if (mark < 0) return [symbol, symbol + 1];
    const [, end = 0, baseStart = 0, baseEnd = 0] = marks.slice(mark, mark + markNumbers);
    if (symbol < end) return [baseStart, baseEnd];
    return [baseEnd + symbol - end, baseEnd + symbol - end + 1];
  }

  return {
    replace(start, end, replacement) {
      copyTo(start);
      marks.push(count, count + replacement.length, start, end);
      look(count - reach, count + replacement.length + reach);
      for (const symbol of replacement) symbols[count++] = symbol;
      copiedTo = end;
    },
    finish(openAt) {
      copyTo(openAt ?? from.length);
      return {
        symbols: symbols.subarray(0, count),
        windows,
        startOf: (symbol) => base.startOf(originOf(symbol)[0]),
        endOf: (symbol) => base.endOf(originOf(symbol)[1] - 1),
        openFrom: openAt === undefined ? base.openFrom : base.startOf(openAt),
      };
    },
  };
}

import { rewriting, type View } from "./view.ts";

/** Of base64 without its padding, the URL alphabet, and hexadecimal. */
const encoded = flags("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_");
/** Of a service (shared/pipeline/services.ts): what it prints has its name in front. */
const nameCharacters = flags("abcdefghijklmnopqrstuvwxyz0123456789_-");
const nameCharactersMax = 63;
/** Encoders break their lines after 60, 64 or 76 characters; a word of this length before a line's end is taken for one. */
const wrappedCharacters = 32;
/** White space between two lines of an encoded text: the line's end and what the next one is indented by. */
const blankCharactersMax = 32;
/** What stands in front of the last word of a line: a time, a name, `> `. */
const prefixCharactersMax = 64;
const padding = 0x3d;
/** A word as long as this is a line of an encoded text, wherever it ends. */
const wordCharactersMax = 48;

/** Where an encoded text goes on after a line of it; the text's length when that cannot be said yet. */
type NextLine = (symbols: Uint8Array, lineEnd: number) => number;

/**
 * The view without what is between the lines of encoded texts: where they go on after white space, and where they go on
 * with the last word of the next line. None where there are no such lines, and no second one where it says the same.
 */
export function unwrappedViews(view: View, isWhole: boolean): View[] {
  const toWord: NextLine = (symbols, lineEnd) => lastWord(symbols, blankEnd(symbols, lineEnd), isWhole);
  const [afterBlanks, beforeWords] = [gapsOf(view.symbols, afterBlank), gapsOf(view.symbols, toWord)];
  if (afterBlanks.length === 0) return [];
  const isSame =
    afterBlanks.length === beforeWords.length && afterBlanks.every((at, index) => at === beforeWords[index]);
  return (isSame ? [afterBlanks] : [afterBlanks, beforeWords]).map((gaps) => without(view, gaps));
}

function without(view: View, gaps: readonly number[]): View {
  const rewritten = rewriting(view);
  for (let index = 0; index < gaps.length; index += 2) {
    rewritten.replace(gaps[index] as number, gaps[index + 1] as number, []);
  }
  return rewritten.finish();
}

/** From the end of each line that ends with a long encoded word up to where the next one goes on: two numbers each. */
function gapsOf(symbols: Uint8Array, nextLine: NextLine): number[] {
  const gaps: number[] = [];
  let end = 0;
  for (const lineEnd of lineBreaks(symbols)) {
    if (lineEnd - wrappedCharacters < end || !isAfterEncoded(symbols, lineEnd)) continue;
    end = nextLine(symbols, lineEnd);
    gaps.push(lineEnd, end);
  }
  return gaps;
}

/** Of either kind, in order: a carriage return may be the first half of a line break whose other half has not come yet. */
function* lineBreaks(symbols: Uint8Array): Generator<number> {
  const next = (code: number, after: number) => {
    const at = symbols.indexOf(code, after);
    return at < 0 ? symbols.length : at;
  };
  let [feed, carriage] = [next(10, 0), next(13, 0)];
  while (feed < symbols.length || carriage < symbols.length) {
    yield Math.min(feed, carriage);
    if (feed < carriage) feed = next(10, feed + 1);
    else carriage = next(13, carriage + 1);
  }
}

function isAfterEncoded(symbols: Uint8Array, at: number): boolean {
  for (let index = at - 1; index >= at - wrappedCharacters; index -= 1) {
    if (encoded[symbols[index] as number] === 0) return false;
  }
  return true;
}

function afterBlank(symbols: Uint8Array, lineEnd: number): number {
  return serviceEnd(symbols, blankEnd(symbols, lineEnd));
}

function blankEnd(symbols: Uint8Array, lineEnd: number): number {
  let end = lineEnd;
  while (end - lineEnd < blankCharactersMax && isBlank(symbols[end])) end += 1;
  return end;
}

/** Where a `[db] ` ends that begins here; the text's end when it may be the beginning of one. */
function serviceEnd(symbols: Uint8Array, start: number): number {
  if (symbols[start] !== 0x5b) return start;
  let end = start + 1;
  while (end - start <= nameCharactersMax && nameCharacters[symbols[end] ?? 0] === 1) end += 1;
  for (const expected of [0x5d, 0x20]) {
    if (end === symbols.length) return end;
    if (symbols[end] !== expected) return start;
    end += 1;
  }
  return end;
}

/**
 * Where the last word of the line begins that begins here; the line's own beginning when that is no encoded one, the
 * text's end when that cannot be said yet.
 */
function lastWord(symbols: Uint8Array, lineStart: number, isWhole: boolean): number {
  let word = lineStart;
  for (let at = lineStart; word - lineStart <= prefixCharactersMax; at += 1) {
    const end = paddingEnd(symbols, at);
    if (end === symbols.length && !isWhole) return end;
    if (end === symbols.length || isLineBreak(symbols[end])) return word < at ? word : lineStart;
    if (encoded[symbols[at] as number] === 0) word = at + 1;
    else if (at - word >= wordCharactersMax) return word;
  }
  return lineStart;
}

function paddingEnd(symbols: Uint8Array, start: number): number {
  let end = start;
  while (end < start + 2 && symbols[end] === padding) end += 1;
  return end;
}

function isLineBreak(symbol: number | undefined): boolean {
  return symbol === 10 || symbol === 13;
}

function isBlank(symbol: number | undefined): boolean {
  return symbol === 32 || symbol === 9 || isLineBreak(symbol);
}

/** For each byte whether it is one of these characters. */
function flags(characters: string): Uint8Array {
  const found = new Uint8Array(256);
  for (const code of Buffer.from(characters)) found[code] = 1;
  return found;
}

/**
 * A text as some reader would read it: `%2F` is a slash, `\n` a new line. Symbols are bytes, and each knows where in the
 * text it was written.
 */
export interface View {
  readonly symbols: Uint8Array;
  /** Where the symbol's writing begins. */
  startOf(symbol: number): number;
  /** Where it ends. */
  endOf(symbol: number): number;
  /** From here on the text may be read in several ways, depending on what comes next; its length when it is not open. */
  readonly openFrom: number;
}

/** What one reading makes of a place in the text: symbols and how many bytes they took, or that more bytes must tell. */
type Reading = { readonly symbols: readonly number[]; readonly bytes: number } | "open";

const percent = 0x25;
const backslash = 0x5c;
const quote = 0x27;
const doubleQuote = 0x22;
/** Quotes one after the other that dash puts between its double quotes. */
const quotesMax = 16;
/** Of base64 without its padding, the URL alphabet, and hexadecimal. */
const encoded = new Set(Buffer.from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"));
/** Encoders break their lines after 60, 64 or 76 characters; a word of this length before a line's end is taken for one. */
const wrappedCharacters = 32;
/** White space between two lines of an encoded text: the line's end and what the next one is indented by. */
const gapCharactersMax = 32;
/** Of a service (shared/pipeline/services.ts): what it prints has its name in front. */
const nameCharactersMax = 63;
const nameCharacters = new Set(Buffer.from("abcdefghijklmnopqrstuvwxyz0123456789_-"));

/**
 * All readings of a text in which a secret may stand: as it is, percent-encoded, with the escapes of JSON and shells, and
 * with the quotes of shells; each also with the line breaks of wrapped base64 left out. Readings that come to the same as another are left out.
 * @param isWhole nothing follows: what would be open is what it is
 */
export function viewsOf(text: Uint8Array, isWhole: boolean): View[] {
  const bytes = Buffer.from(text.buffer, text.byteOffset, text.byteLength);
  const views: View[] = [plain(bytes)];
  if (bytes.includes(percent)) views.push(unescaped(bytes, { mark: percent, read: readPercent, isWhole }));
  if (bytes.includes(backslash)) views.push(unescaped(bytes, { mark: backslash, read: readBackslash, isWhole }));
  // What a quote that the text ends with may begin needs no view: the plain one waits for the rest of a secret with a quote.
  if (bytes.includes("'\\") || bytes.includes("'\""))
    views.push(unescaped(bytes, { mark: quote, read: readQuote, isWhole }));
  return views.flatMap((view) => {
    const joined = unwrapped(view);
    return joined === undefined ? [view] : [view, joined];
  });
}

function plain(symbols: Uint8Array): View {
  return { symbols, startOf: (symbol) => symbol, endOf: (symbol) => symbol + 1, openFrom: symbols.length };
}

interface Escapes {
  readonly mark: number;
  readonly read: (text: Buffer, at: number) => Reading | undefined;
  readonly isWhole: boolean;
}

function unescaped(text: Buffer, { mark, read, isWhole }: Escapes): View {
  const symbols = new Uint8Array(text.length);
  const starts = new Int32Array(text.length);
  const ends = new Int32Array(text.length);
  let count = 0;
  let at = 0;
  let openFrom = text.length;
  const push = (symbol: number, end: number) => {
    symbols[count] = symbol;
    starts[count] = at;
    ends[count] = end;
    count += 1;
  };
  while (at < text.length) {
    const byte = text[at] as number;
    const reading = byte === mark ? read(text, at) : undefined;
    if (reading === undefined || (reading === "open" && isWhole)) {
      push(byte, at + 1);
      at += 1;
    } else if (reading === "open") {
      openFrom = at;
      break;
    } else {
      for (const symbol of reading.symbols) push(symbol, at + reading.bytes);
      at += reading.bytes;
    }
  }
  return {
    symbols: symbols.subarray(0, count),
    startOf: (symbol) => starts[symbol] ?? openFrom,
    endOf: (symbol) => ends[symbol] ?? openFrom,
    openFrom,
  };
}

function readPercent(text: Buffer, at: number): Reading {
  const value = hexAt(text, at + 1, 2);
  if (value === undefined) return { symbols: [percent], bytes: 1 };
  return value === "open" ? "open" : { symbols: [value], bytes: 3 };
}

/** What JSON and shells write for one byte; any other character after a backslash stands for itself. */
const oneByte: ReadonlyMap<number, number> = new Map([
  [0x6e, 10],
  [0x72, 13],
  [0x74, 9],
  [0x62, 8],
  [0x66, 12],
  [0x76, 11],
]);

function readBackslash(text: Buffer, at: number): Reading {
  const next = text[at + 1];
  if (next === undefined) return "open";
  const byte = oneByte.get(next);
  if (byte !== undefined) return { symbols: [byte], bytes: 2 };
  const itself: Reading = { symbols: [next], bytes: 2 };
  if (next === 0x78) return numbered(hexAt(text, at + 2, 2), 4) ?? itself;
  if (next === 0x75) return readUnicode(text, at) ?? itself;
  if (next >= 0x30 && next <= 0x33) return numbered(octalAt(text, at + 1), 4) ?? itself;
  return itself;
}

/** A quote within quotes: `'\\''` of bash, `'"'"'` of dash, which leaves the last one out where the text ends. */
function readQuote(text: Buffer, at: number): Reading | undefined {
  const next = text[at + 1];
  if (next === undefined) return "open";
  if (next === backslash) {
    const rest = text.subarray(at + 2, at + 4).toString("latin1");
    if (rest === "''") return { symbols: [quote], bytes: 4 };
    return "''".startsWith(rest) ? "open" : undefined;
  }
  if (next !== doubleQuote) return undefined;
  let end = at + 2;
  while (text[end] === quote && end < at + 2 + quotesMax) end += 1;
  const quotes = end - at - 2;
  if (end >= text.length) return "open";
  if (quotes === 0 || text[end] !== doubleQuote) return undefined;
  if (end + 1 >= text.length) return "open";
  const closing = text[end + 1] === quote ? 2 : 1;
  return { symbols: Array<number>(quotes).fill(quote), bytes: quotes + 2 + closing };
}

function numbered(value: number | "open" | undefined, bytes: number): Reading | undefined {
  return value === undefined || value === "open" ? value : { symbols: [value], bytes };
}

/** `\u00e9`, and two of them for what lies beyond the first 65,536 characters. */
function readUnicode(text: Buffer, at: number): Reading | undefined {
  const first = hexAt(text, at + 2, 4);
  if (first === undefined || first === "open") return first;
  const alone = { symbols: [...Buffer.from(String.fromCharCode(first))], bytes: 6 };
  if (first < 0xd800 || first > 0xdbff) return alone;
  const rest = text.subarray(at + 6, at + 8).toString("latin1");
  if (rest !== "\\u") return "\\u".startsWith(rest) ? "open" : alone;
  const second = hexAt(text, at + 8, 4);
  if (second === "open") return "open";
  if (second === undefined || second < 0xdc00 || second > 0xdfff) return alone;
  return { symbols: [...Buffer.from(String.fromCharCode(first, second))], bytes: 12 };
}

function hexAt(text: Buffer, at: number, digits: number): number | "open" | undefined {
  return numberAt(text, { at, digits, radix: 16 });
}

function octalAt(text: Buffer, at: number): number | "open" | undefined {
  return numberAt(text, { at, digits: 3, radix: 8 });
}

interface Digits {
  readonly at: number;
  readonly digits: number;
  readonly radix: number;
}

/** Undefined when one of the digits is none. */
function numberAt(text: Buffer, { at, digits, radix }: Digits): number | "open" | undefined {
  let value = 0;
  for (let index = at; index < at + digits; index += 1) {
    const code = text[index];
    if (code === undefined) return "open";
    const digit = digitOf(code);
    if (digit >= radix) return undefined;
    value = value * radix + digit;
  }
  return value;
}

/** 99 for what is no hexadecimal digit. */
function digitOf(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = code | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : 99;
}

/** Without the line breaks after long encoded words; undefined when there are none. */
function unwrapped(view: View): View | undefined {
  const { symbols } = view;
  const kept: number[] = [];
  const gaps: [start: number, end: number][] = [];
  for (const start of lineBreaks(symbols)) {
    const last = gaps.at(-1);
    if (start >= (last?.[1] ?? 0) && isAfterEncoded(symbols, start, last)) gaps.push([start, gapEnd(symbols, start)]);
  }
  if (gaps.length === 0) return undefined;
  const all = new Uint8Array(symbols.length);
  let from = 0;
  let count = 0;
  for (const [start, end] of [...gaps, [symbols.length, symbols.length] as const]) {
    all.set(symbols.subarray(from, start), count);
    count += start - from;
    kept.push(count, end);
    from = end;
  }
  /** Which symbol of the view it is: `kept` has, for each gap, how many come before it and where it ends. */
  const original = (symbol: number) => {
    let [low, high] = [0, kept.length / 2];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((kept[middle * 2] as number) <= symbol) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return symbol;
    return symbol - (kept[low * 2 - 2] as number) + (kept[low * 2 - 1] as number);
  };
  return {
    symbols: all.subarray(0, count),
    startOf: (symbol) => view.startOf(original(symbol)),
    endOf: (symbol) => view.endOf(original(symbol)),
    openFrom: view.openFrom,
  };
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

/** Whether the line before is one of a wrapped text. */
function isAfterEncoded(symbols: Uint8Array, at: number, gap: readonly [number, number] | undefined): boolean {
  const first = at - wrappedCharacters;
  if (first < (gap?.[1] ?? 0)) return false;
  for (let index = at - 1; index >= first; index -= 1) if (!encoded.has(symbols[index] as number)) return false;
  return true;
}

function gapEnd(symbols: Uint8Array, start: number): number {
  let end = start;
  while (end - start < gapCharactersMax && isWhite(symbols[end])) end += 1;
  return serviceEnd(symbols, end);
}

/** Where a `[db] ` ends that begins here; the text's end when it may be the beginning of one. */
function serviceEnd(symbols: Uint8Array, start: number): number {
  if (symbols[start] !== 0x5b) return start;
  let end = start + 1;
  while (end - start <= nameCharactersMax && nameCharacters.has(symbols[end] as number)) end += 1;
  for (const expected of [0x5d, 0x20]) {
    if (end === symbols.length) return end;
    if (symbols[end] !== expected) return start;
    end += 1;
  }
  return end;
}

function isWhite(symbol: number | undefined): boolean {
  return symbol === 32 || symbol === 9 || symbol === 10 || symbol === 13;
}

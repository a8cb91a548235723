/** What a reading makes of a place in a text: symbols and how many bytes they took, or that more bytes must tell. */
export type Reading = { readonly symbols: readonly number[]; readonly bytes: number } | "open";

/** A way to write characters by others, all of which begin with one mark. */
export interface Escapes {
  readonly mark: number;
  /** Undefined where the mark stands for itself. */
  read(text: Uint8Array, at: number): Reading | undefined;
}

const quote = 0x27;
const doubleQuote = 0x22;
const backslash = 0x5c;
const semicolon = 0x3b;
/** Quotes one after the other that dash puts between its double quotes. */
const quotesMax = 16;

/** Of URLs: `%2F`. */
export const percentEscapes: Escapes = {
  mark: 0x25,
  read(text, at) {
    return numbered(numberAt(text, { at: at + 1, digits: 2, radix: 16 }), 3);
  },
};

/** What JSON and shells write for one byte; any other character after a backslash stands for itself. */
const oneByte: ReadonlyMap<number, number> = new Map([
  [0x6e, 10],
  [0x72, 13],
  [0x74, 9],
  [0x62, 8],
  [0x66, 12],
  [0x76, 11],
]);

/** Of JSON, programming languages and shells: `\n`, `\x2f`, `\u00e9`, `\057`, `\/`. */
export const backslashEscapes: Escapes = {
  mark: backslash,
  read(text, at) {
    const next = text[at + 1];
    if (next === undefined) return "open";
    const byte = oneByte.get(next);
    if (byte !== undefined) return { symbols: [byte], bytes: 2 };
    const itself: Reading = { symbols: [next], bytes: 2 };
    if (next === 0x78) return numbered(numberAt(text, { at: at + 2, digits: 2, radix: 16 }), 4) ?? itself;
    if (next === 0x75) return readUnicode(text, at) ?? itself;
    if (next >= 0x30 && next <= 0x33) return numbered(numberAt(text, { at: at + 1, digits: 3, radix: 8 }), 4) ?? itself;
    return itself;
  },
};

/** Of shells, a quote within quotes: `'\''` of bash, `'"'"'` of dash, which leaves the last one out where the text ends. */
export const quoteEscapes: Escapes = {
  mark: quote,
  read(text, at) {
    const next = text[at + 1];
    if (next === undefined) return "open";
    if (next === backslash) {
      for (const place of [at + 2, at + 3]) {
        if (place >= text.length) return "open";
        if (text[place] !== quote) return undefined;
      }
      return { symbols: [quote], bytes: 4 };
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
  },
};

/** Those that XML has by itself. */
const entities: ReadonlyMap<string, number> = new Map([
  ["amp", 0x26],
  ["lt", 0x3c],
  ["gt", 0x3e],
  ["quot", doubleQuote],
  ["apos", quote],
]);
/** Of what is between `&` and `;`: `#1114111`, `#x10FFFF`, and some zeros before. */
const entityCharactersMax = 9;

/** Of XML and HTML: `&amp;`, `&#39;`, `&#x27;`. */
export const entityEscapes: Escapes = {
  mark: 0x26,
  read(text, at) {
    let name = "";
    for (let place = at + 1; name.length <= entityCharactersMax; place += 1) {
      const code = text[place];
      if (code === undefined) return "open";
      if (code === semicolon) {
        const symbols = characterOf(name);
        return symbols === undefined ? undefined : { symbols, bytes: name.length + 2 };
      }
      if (code !== 0x23 && !isLetterOrDigit(code)) return undefined;
      name += String.fromCharCode(code);
    }
    return undefined;
  },
};

function characterOf(entity: string): readonly number[] | undefined {
  const byte = entities.get(entity);
  if (byte !== undefined) return [byte];
  const [, hex, decimal] = /^#(?:[xX]([0-9a-fA-F]+)|([0-9]+))$/.exec(entity) ?? [];
  const code = hex === undefined ? Number(decimal ?? Number.NaN) : Number.parseInt(hex, 16);
  return code <= 0x10_ffff ? [...Buffer.from(String.fromCodePoint(code))] : undefined;
}

function isLetterOrDigit(code: number): boolean {
  const small = code | 0x20;
  return (code >= 0x30 && code <= 0x39) || (small >= 0x61 && small <= 0x7a);
}

function numbered(value: number | "open" | undefined, bytes: number): Reading | undefined {
  return value === undefined || value === "open" ? value : { symbols: [value], bytes };
}

/** `\u00e9`, and two of them for what lies beyond the first 65,536 characters. */
function readUnicode(text: Uint8Array, at: number): Reading | undefined {
  const first = numberAt(text, { at: at + 2, digits: 4, radix: 16 });
  if (first === undefined || first === "open") return first;
  const alone = { symbols: [...Buffer.from(String.fromCharCode(first))], bytes: 6 };
  if (first < 0xd800 || first > 0xdbff) return alone;
  for (const [place, expected] of [
    [at + 6, backslash],
    [at + 7, 0x75],
  ] as const) {
    if (place >= text.length) return "open";
    if (text[place] !== expected) return alone;
  }
  const second = numberAt(text, { at: at + 8, digits: 4, radix: 16 });
  if (second === "open") return "open";
  if (second === undefined || second < 0xdc00 || second > 0xdfff) return alone;
  return { symbols: [...Buffer.from(String.fromCharCode(first, second))], bytes: 12 };
}

interface Digits {
  readonly at: number;
  readonly digits: number;
  readonly radix: number;
}

/** Undefined when one of the digits is none. */
function numberAt(text: Uint8Array, { at, digits, radix }: Digits): number | "open" | undefined {
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

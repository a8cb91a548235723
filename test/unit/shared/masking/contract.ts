// What docs/guides/secrets.md promises of masking, done to a whole text in the plainest way: every reading by regular
// expressions, every form looked for at every place. Nothing of it is taken from what is tested.

/** A byte, and where in the text it is written. */
interface Symbol {
  readonly byte: string;
  readonly start: number;
  readonly end: number;
}
type Reading = readonly Symbol[];
/** What may be written at a place: how it looks, and what it is. */
type Rule = readonly [pattern: RegExp, bytes: (match: RegExpExecArray) => string];

const latin = (bytes: Buffer) => bytes.toString("latin1");
const byteOf = (digits: string | undefined, radix: number) => String.fromCharCode(Number.parseInt(digits ?? "", radix));
const utf8 = (...units: string[]) =>
  latin(Buffer.from(String.fromCharCode(...units.map((unit) => Number.parseInt(unit, 16)))));
const named: Readonly<Record<string, string>> = { n: "\n", r: "\r", t: "\t", b: "\b", f: "\f", v: "\v" };
const entities: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

const percent: readonly Rule[] = [[/%([0-9a-f]{2})/iy, ([, hex]) => byteOf(hex, 16)]];
const backslash: readonly Rule[] = [
  [/\\u(d[89ab]..)\\u(d[c-f]..)/iy, ([, high = "", low = ""]) => utf8(high, low)],
  [/\\u([0-9a-f]{4})/iy, ([, unit = ""]) => utf8(unit)],
  [/\\x([0-9a-f]{2})/iy, ([, hex]) => byteOf(hex, 16)],
  [/\\([0-3][0-7]{2})/y, ([, octal]) => byteOf(octal, 8)],
  [/\\([^])/y, ([, next = ""]) => named[next] ?? next],
];
const entity: readonly Rule[] = [
  [/&(amp|lt|gt|quot|apos);/y, ([, name = ""]) => entities[name] ?? ""],
  [/&#([0-9]{1,7});/y, ([, code]) => character(Number(code))],
  [/&#x([0-9a-f]{1,6});/iy, ([, code = ""]) => character(Number.parseInt(code, 16))],
];
const quotes: readonly Rule[] = [
  [/'\\''/y, () => "'"],
  [/'"('{1,16})"'?/y, ([, inner = ""]) => inner],
];
const character = (code: number) => latin(Buffer.from(String.fromCodePoint(code)));

/** One way after the other: what a text may be written in. */
const ways: readonly (readonly (readonly Rule[])[])[] = [
  [],
  [percent],
  [percent, percent],
  [backslash],
  [backslash, backslash],
  [entity],
  [entity, entity],
  [entity, backslash],
  [quotes],
];

const word = "[A-Za-z0-9+/_-]";
const blank = "[\\r\\n][ \\t\\r\\n]{0,31}";
/** Between lines of base64: white space, and what a service is called or what stands before the last word of a line. */
const gaps: readonly RegExp[] = [
  new RegExp(`(?<=${word}{32})${blank}(?:\\[[a-z0-9_-]{0,63}\\] )?`, "y"),
  new RegExp(
    `(?<=${word}{32})${blank}(?:(?=[^\\r\\n]{0,64}${word})(?:[^\\r\\n]{0,63}?[^\\r\\nA-Za-z0-9+/_-])??` +
      `(?=${word}{49}|${word}+={0,2}(?:[\\r\\n]|$)))?`,
    "y",
  ),
];

function read(base: Reading, rules: readonly Rule[]): Reading {
  const text = base.map(({ byte }) => byte).join("");
  const symbols: Symbol[] = [];
  for (let at = 0; at < base.length; ) {
    const found = rules
      .map(([pattern, bytes]) => ({ match: matchAt(pattern, text, at), bytes }))
      .find((it) => it.match);
    const length = found?.match?.[0].length ?? 1;
    const bytes = found?.match ? found.bytes(found.match) : (text[at] ?? "");
    const [start, end] = [base[at]?.start ?? 0, base[at + length - 1]?.end ?? 0];
    for (const byte of bytes) symbols.push({ byte, start, end });
    at += length;
  }
  return symbols;
}

function unwrap(base: Reading, gap: RegExp): Reading {
  const text = base.map(({ byte }) => byte).join("");
  const kept: Symbol[] = [];
  for (let at = 0, from = 0; at < base.length; ) {
    const match = at - from >= 32 ? matchAt(gap, text, at) : null;
    if (match === null) kept.push(base[at++] as Symbol);
    else from = at += match[0].length;
  }
  return kept;
}

function matchAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

function formsOf(value: Buffer): string[] {
  const units = [latin(value), ...latin(value).split(/[\r\n]+/)].map((unit) =>
    unit.replaceAll(/^[ \t\r\n]+|[ \t\r\n]+$/g, ""),
  );
  return units
    .filter((unit) => unit.length >= 4)
    .flatMap((unit) => {
      const bytes = Buffer.from(unit, "latin1");
      const encoded = [0, 1, 2].flatMap((before) =>
        (["base64", "base64url"] as const).map((encoding) =>
          Buffer.concat([Buffer.alloc(before), bytes])
            .toString(encoding)
            .slice(Math.ceil((8 * before) / 6), Math.floor((8 * (before + bytes.length)) / 6)),
        ),
      );
      const hex = bytes.toString("hex");
      return [unit, unit.replaceAll(" ", "+"), ...encoded, hex, hex.toUpperCase()];
    })
    .filter((form) => form.length >= 4)
    .flatMap((form) => (form.length <= 64 ? [form] : [...(form.match(/[^]{64}/g) ?? []), form.slice(-64)]));
}

/** The text as it must come out, in Latin-1. It must not end within a form. */
export function maskedByContract(values: readonly Buffer[], text: Buffer): string {
  const out = [...latin(text)];
  const plain = out.map((byte, at) => ({ byte, start: at, end: at + 1 }));
  const forms = values.flatMap(formsOf);
  for (const way of ways) {
    const view = way.reduce<Reading>(read, plain);
    for (const reading of [view, ...gaps.map((gap) => unwrap(view, gap))]) {
      const symbols = reading.map(({ byte }) => byte).join("");
      for (const form of forms) {
        for (let at = symbols.indexOf(form); at >= 0; at = symbols.indexOf(form, at + 1)) {
          const [start, end] = [reading[at]?.start ?? 0, reading[at + form.length - 1]?.end ?? 0];
          for (let place = start; place < end; place += 1) if (!/[\r\n]/.test(out[place] ?? "")) out[place] = "*";
        }
      }
    }
  }
  return out.join("");
}

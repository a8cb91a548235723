/**
 * Reads protobuf messages byte by byte, knowing nothing but field numbers and types, and says what is not canonical.
 * Written without the library that encodes them, so that a fault there cannot hide here.
 */

/** `string`, `bytes`, `varint`, or the shape of a message. */
type FieldType = "string" | "bytes" | "varint" | Shape;

interface Field {
  readonly type: FieldType;
  readonly repeated?: true;
  /** The key by which a repeated field must be sorted, strictly unless `mayRepeat`; given its elements' bytes. */
  readonly sortedBy?: (element: Uint8Array) => Uint8Array[];
  readonly mayRepeat?: true;
}

export type Shape = { readonly [fieldNumber: number]: Field };

/** The bytes of field 1 (and 2): the name (and the value) of a node, a variable, a property. */
const nameOf = (element: Uint8Array) => [bytesOfField(element, 1)];
const nameAndValueOf = (element: Uint8Array) => [bytesOfField(element, 1), bytesOfField(element, 2)];
const itself = (element: Uint8Array) => [element];

const digest: Shape = { 1: { type: "string" }, 2: { type: "varint" } };
const pair: Shape = { 1: { type: "string" }, 2: { type: "string" } };
const seconds: Shape = { 1: { type: "varint" }, 2: { type: "varint" } };
const platform: Shape = { 1: { type: pair, repeated: true, sortedBy: nameAndValueOf, mayRepeat: true } };
const fileNode: Shape = { 1: { type: "string" }, 2: { type: digest }, 4: { type: "varint" } };
const directoryNode: Shape = { 1: { type: "string" }, 2: { type: digest } };

/** REAPI's messages whose digests are keys. */
export const shapes = {
  directory: {
    1: { type: fileNode, repeated: true, sortedBy: nameOf },
    2: { type: directoryNode, repeated: true, sortedBy: nameOf },
    3: { type: pair, repeated: true, sortedBy: nameOf },
  },
  action: {
    1: { type: digest },
    2: { type: digest },
    6: { type: seconds },
    7: { type: "varint" },
    9: { type: "bytes" },
    10: { type: platform },
  },
  command: {
    1: { type: "string", repeated: true },
    2: { type: pair, repeated: true, sortedBy: nameOf },
    3: { type: "string", repeated: true, sortedBy: itself },
    4: { type: "string", repeated: true, sortedBy: itself },
    5: { type: platform },
    6: { type: "string" },
    7: { type: "string", repeated: true, sortedBy: itself },
    9: { type: "varint" },
  },
} as const satisfies Record<string, Shape>;

export const treeShape: Shape = {
  1: { type: shapes.directory },
  2: { type: shapes.directory, repeated: true },
};

/** One field as it stands on the wire. */
interface WireField {
  readonly number: number;
  readonly wireType: number;
  /** A varint's value, or nothing for a length-delimited field. */
  readonly value: bigint;
  readonly bytes: Uint8Array;
}

/** What is not canonical about a message, with the path of fields; empty when all is well. */
export function canonicalProblems(bytes: Uint8Array, shape: Shape, path = ""): string[] {
  const problems: string[] = [];
  let last: WireField | undefined;
  for (const field of wireFields(bytes)) {
    const at = `${path}/${field.number}`;
    const known = shape[field.number];
    if (known === undefined) {
      problems.push(`${at} is no field of this message`);
      continue;
    }
    problems.push(...orderProblems(last, field, known, at), ...valueProblems(field, known, at));
    last = field;
  }
  return problems;
}

/** Writes the message anew from what was read: fields in order, shortest varints. */
export function reencode(bytes: Uint8Array, shape: Shape): Uint8Array {
  const out: Uint8Array[] = [];
  for (const { number, wireType, value, bytes: content } of [...wireFields(bytes)].sort(
    (a, b) => a.number - b.number,
  )) {
    const type = shape[number]?.type;
    const tag = varint(BigInt(number * 8 + wireType));
    if (wireType === 0) out.push(tag, varint(value));
    else {
      const inner = typeof type === "object" ? reencode(content, type) : content;
      out.push(tag, varint(BigInt(inner.byteLength)), inner);
    }
  }
  return new Uint8Array(Buffer.concat(out));
}

function orderProblems(last: WireField | undefined, field: WireField, known: Field, at: string): string[] {
  if (last === undefined || last.number < field.number) return [];
  if (last.number > field.number) return [`${at} stands behind field ${last.number}`];
  if (known.repeated !== true) return [`${at} occurs twice`];
  if (known.sortedBy === undefined) return [];
  const order = compareKeys(known.sortedBy(last.bytes), known.sortedBy(field.bytes));
  if (order > 0) return [`${at} is not sorted`];
  return order === 0 && known.mayRepeat !== true ? [`${at} has a name twice`] : [];
}

function valueProblems(field: WireField, known: Field, at: string): string[] {
  const expected = known.type === "varint" ? 0 : 2;
  if (field.wireType !== expected) return [`${at} has wire type ${field.wireType}`];
  if (known.type === "varint") return field.value === 0n ? [`${at} holds its default`] : [];
  if (typeof known.type === "object") return canonicalProblems(field.bytes, known.type, at);
  if (field.bytes.byteLength === 0 && known.repeated !== true) return [`${at} holds its default`];
  return [];
}

function* wireFields(bytes: Uint8Array): Generator<WireField> {
  let position = 0;
  const readVarint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[position++];
      if (byte === undefined) throw new Error("the message ends within a varint");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (byte === 0 && shift > 0n) throw new Error("a varint is longer than need be");
        return value;
      }
    }
  };
  while (position < bytes.byteLength) {
    const tag = Number(readVarint());
    const [number, wireType] = [tag >> 3, tag & 7];
    if (wireType !== 0 && wireType !== 2) throw new Error(`field ${number} has wire type ${wireType}`);
    const value = readVarint();
    if (wireType === 0) {
      yield { number, wireType, value, bytes: new Uint8Array() };
      continue;
    }
    const end = position + Number(value);
    if (end > bytes.byteLength) throw new Error(`field ${number} reaches beyond its message`);
    yield { number, wireType, value: 0n, bytes: bytes.subarray(position, end) };
    position = end;
  }
}

function bytesOfField(message: Uint8Array, number: number): Uint8Array {
  return [...wireFields(message)].find((field) => field.number === number)?.bytes ?? new Uint8Array();
}

function compareKeys(a: Uint8Array[], b: Uint8Array[]): number {
  for (const [index, part] of a.entries()) {
    const order = Buffer.compare(part, b[index] ?? new Uint8Array());
    if (order !== 0) return order;
  }
  return 0;
}

function varint(value: bigint): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Uint8Array.from(bytes);
}

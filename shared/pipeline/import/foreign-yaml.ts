import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
import { MillraceError } from "../../errors.ts";
import { limits } from "../../limits.ts";

// YAML as other systems take it: merge keys and the tag `!reference` mean something there, which pipeline files refuse.

/** A value of a foreign file and the line where it stands. Scalars are text as written; `null` and nothing are empty. */
export type Foreign = ForeignText | ForeignList | ForeignMap;

export interface ForeignText {
  readonly kind: "text";
  readonly text: string;
  /** In quotes, or a block: never a number or a boolean. */
  readonly quoted: boolean;
  readonly line: number;
}

export interface ForeignList {
  readonly kind: "list";
  readonly items: readonly Foreign[];
  /** Of `!reference [a, b]`. */
  readonly reference: boolean;
  readonly line: number;
}

/** Keys in the order of the file; those of merge keys come before its own. */
export interface ForeignMap {
  readonly kind: "map";
  readonly entries: ReadonlyMap<string, ForeignEntry>;
  readonly line: number;
}

/** The value at a key, and the line of the key. */
export interface ForeignEntry {
  readonly value: Foreign;
  readonly line: number;
}

/**
 * Reads the one mapping of a file.
 * @throws MillraceError invalid_argument, with file and line, for what is no YAML, no mapping, or too large.
 */
export function readForeign(text: string, file: string): ForeignMap {
  const refuse = (line: number, message: string): never => {
    throw new MillraceError("invalid_argument", `${file}:${line}: ${message}`);
  };
  if (Buffer.byteLength(text) > limits.pipelineFileBytes) refuse(1, `is larger than ${limits.pipelineFileBytes} bytes`);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    schema: "failsafe",
    lineCounter: lines,
    prettyErrors: false,
    uniqueKeys: false,
    logLevel: "error",
  });
  const [error] = document.errors;
  const lineAt = (offset: number | undefined) => Math.max(1, lines.linePos(offset ?? 0).line);
  if (error !== undefined) refuse(lineAt(error.pos[0]), error.message);
  const anchors = new Map<string, Foreign>();
  let size = 0;

  function convert(node: unknown, depth: number, near: number): Foreign {
    size += 1;
    if (size > limits.pipelineValues || depth > limits.pipelineDepth)
      refuse(near, "is too large, counting what aliases stand for");
    if (isAlias(node)) {
      const target = anchors.get(node.source) ?? refuse(near, `there is no anchor &${node.source} before this alias`);
      size += sizeOf(target);
      return target;
    }
    const line = isScalar(node) || isMap(node) || isSeq(node) ? lineAt(node.range?.[0]) : near;
    const value = convertOwn(node, depth, line);
    if ((isScalar(node) || isMap(node) || isSeq(node)) && node.anchor !== undefined) anchors.set(node.anchor, value);
    return value;
  }

  function convertOwn(node: unknown, depth: number, line: number): Foreign {
    if (isSeq(node)) {
      const items = node.items.map((item) => convert(item, depth + 1, line));
      return { kind: "list", items, reference: node.tag === "!reference", line };
    }
    if (isMap(node)) return { kind: "map", entries: entriesOf(node.items, depth, line), line };
    const text = isScalar(node) && typeof node.value === "string" ? node.value : "";
    const quoted = isScalar(node) && node.type !== undefined && node.type !== "PLAIN";
    return { kind: "text", text: !quoted && (text === "~" || text === "null") ? "" : text, quoted, line };
  }

  function entriesOf(pairs: readonly { key: unknown; value: unknown }[], depth: number, line: number) {
    const entries = new Map<string, ForeignEntry>();
    const merged = new Map<string, ForeignEntry>();
    for (const { key, value } of pairs) {
      const name = convert(key, depth + 1, line);
      if (name.kind !== "text") refuse(name.line, "a key is no text");
      else if (name.text === "<<") {
        const from = convert(value, depth + 1, name.line);
        for (const source of from.kind === "list" ? from.items : [from]) {
          if (source.kind !== "map") continue;
          for (const [inner, entry] of source.entries) if (!merged.has(inner)) merged.set(inner, entry);
        }
      } else entries.set(name.text, { value: convert(value, depth + 1, name.line), line: name.line });
    }
    return new Map([...merged, ...entries]);
  }

  const top = convert(document.contents, 0, 1);
  return top.kind === "map" ? top : refuse(1, "is not a mapping");
}

function sizeOf(value: Foreign): number {
  switch (value.kind) {
    case "text":
      return 1;
    case "list":
      return value.items.reduce((sum, item) => sum + sizeOf(item), 1);
    case "map":
      return [...value.entries.values()].reduce((sum, entry) => sum + sizeOf(entry.value), 1);
    default:
      return value satisfies never;
  }
}

/** The entry at a key of a mapping; undefined where there is none, and in what is no mapping. */
export function entryOf(value: Foreign | undefined, key: string): ForeignEntry | undefined {
  return value?.kind === "map" ? value.entries.get(key) : undefined;
}

/** The value at a key. */
export function valueAt(value: Foreign | undefined, key: string): Foreign | undefined {
  return entryOf(value, key)?.value;
}

/** The text at a key; undefined where there is none, or no text. */
export function textAt(value: Foreign | undefined, key: string): string | undefined {
  const found = valueAt(value, key);
  return found?.kind === "text" ? found.text : undefined;
}

/** Keys and values of a mapping, in file order. */
export function entriesAt(value: Foreign | undefined): [string, ForeignEntry][] {
  return value?.kind === "map" ? [...value.entries] : [];
}

/** A list, or the one thing that stands for a list of it; lists in lists are made one. */
export function listOf(value: Foreign | undefined): Foreign[] {
  if (value === undefined || (value.kind === "text" && value.text === "" && !value.quoted)) return [];
  return value.kind === "list" && !value.reference ? value.items.flatMap(listOf) : [value];
}

/** The texts of a list, or of the one text that stands for it. */
export function textsOf(value: Foreign | undefined): string[] {
  return listOf(value).flatMap((item) => (item.kind === "text" ? [item.text] : []));
}

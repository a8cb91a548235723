import { Alias, isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type YAMLMap } from "yaml";
import { limits } from "../limits.ts";
import type { Position } from "./pipeline.ts";

/** Every scalar is text as written: `1.10` stays `1.10`, and what it means is decided by the key it stands under. */
export type YamlValue = string | readonly YamlValue[] | { readonly [key: string]: YamlValue };

/** Keys and indexes from the top of the file to a value. */
export type YamlPath = readonly (string | number)[];

/** A YAML file as plain values, and where each of them stands. */
export interface YamlSource {
  readonly value: YamlValue;
  /** Of the key that the path ends in, or of its value; of the nearest one above where that does not exist. */
  position(path: YamlPath, part: "key" | "value"): Position;
  /** Keys of the mapping at the path in file order, which plain objects do not keep for keys such as `2`; else none. */
  keys(path: YamlPath): readonly string[];
}

export interface YamlProblem extends Position {
  readonly message: string;
  readonly hint?: string;
}

/** Problems may come with a source: what is wrong then does not hide what else is wrong. */
export interface YamlReading {
  readonly source?: YamlSource;
  readonly problems: readonly YamlProblem[];
}

/**
 * Reads one YAML document. Hostile files are expected: the size of what aliases expand to, the depth and the keys are
 * bounded, and no tag makes anything but text, lists and mappings.
 */
export function readYaml(text: string): YamlReading {
  const lines = new LineCounter();
  // The library looks for a duplicate key among all keys before it: a minute for a hostile file. Ours is in the walk.
  const options = { schema: "failsafe", lineCounter: lines, prettyErrors: false, uniqueKeys: false } as const;
  const document = parseDocument(text, options);
  const at = (offset: number): Position => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (document.errors.length > 0) {
    const first = document.errors.slice(0, limits.pipelineProblems);
    return { problems: first.map((error) => ({ ...at(error.pos[0]), message: syntaxMessage(error.message) })) };
  }
  const tags = document.warnings.map((warning) => ({ ...at(warning.pos[0]), message: "tags are not supported" }));
  const top: unknown = document.contents;
  if (top === null || (isScalar(top) && top.value === "")) {
    return {
      problems: [{ line: 1, column: 1, message: "the file is empty", hint: "`millrace init` writes a starter" }],
    };
  }
  const walk = walker();
  const value = walk.convert(top, 0);
  const problems = walk.problems.map(({ offset, ...problem }) => ({ ...at(offset), ...problem }));
  return { source: locator(top, value, walk.targets, at), problems: [...tags, ...problems] };
}

function syntaxMessage(message: string): string {
  // The library's recursion ends in its own catch; it has no other sign for this.
  if (message.includes("call stack")) return "this is nested too deeply";
  return message.charAt(0).toLowerCase() + message.slice(1);
}

interface WalkProblem {
  readonly offset: number;
  readonly message: string;
  readonly hint?: string;
}

/** Turns nodes into values in the order of the file, so that an alias finds the anchor before it without a search. */
function walker() {
  const problems: WalkProblem[] = [];
  const targets = new Map<Alias, unknown>();
  const anchors = new Map<string, { node: unknown; value: YamlValue; size: number }>();
  let size = 0;
  let tooLarge = false;

  const report = (node: unknown, message: string, hint?: string) =>
    problems.push({ offset: offsetOf(node) ?? 0, message, ...(hint === undefined ? {} : { hint }) });

  function convert(node: unknown, depth: number): YamlValue {
    const before = size;
    size += 1;
    if (tooLarge) return "";
    if (size > limits.pipelineValues) {
      tooLarge = true;
      report(node, `the file has more than ${limits.pipelineValues} values, counting what aliases stand for`);
      return "";
    }
    if (depth > limits.pipelineDepth) {
      report(node, `this is nested more than ${limits.pipelineDepth} levels deep`);
      return "";
    }
    if (isAlias(node)) return convertAlias(node);
    const value = convertCollection(node, depth);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) anchors.set(anchor, { node, value, size: size - before });
    return value;
  }

  function convertAlias(alias: Alias): YamlValue {
    const anchor = anchors.get(alias.source);
    if (anchor === undefined) {
      report(alias, `there is no anchor &${alias.source} before this alias`);
      return "";
    }
    targets.set(alias, anchor.node);
    size += anchor.size;
    return anchor.value;
  }

  function convertCollection(node: unknown, depth: number): YamlValue {
    if (isSeq(node)) return node.items.map((item) => convert(item, depth + 1));
    if (isMap(node)) return convertMap(node, depth);
    return isScalar(node) && typeof node.value === "string" ? node.value : "";
  }

  function convertMap(map: YAMLMap, depth: number): YamlValue {
    const entries = new Map<string, YamlValue>();
    for (const { key, value } of map.items) {
      if (!isScalar(key) || typeof key.value !== "string") {
        report(key, "a key must be plain text");
      } else if (key.value === "<<") {
        report(key, "merge keys are not supported", "use an alias for the whole value, or `defaults`");
      } else if (key.value === "__proto__") {
        report(key, `"__proto__" cannot be a key`);
      } else if (entries.has(key.value)) {
        report(key, `"${key.value}" is given twice`, "keep one of them");
      } else {
        entries.set(key.value, convert(value, depth + 1));
      }
    }
    return Object.fromEntries(entries);
  }

  return { convert, problems, targets };
}

function offsetOf(node: unknown): number | undefined {
  if (!isAlias(node) && !isScalar(node) && !isMap(node) && !isSeq(node)) return undefined;
  return node.range?.[0];
}

function locator(
  top: unknown,
  value: YamlValue,
  targets: ReadonlyMap<Alias, unknown>,
  at: (offset: number) => Position,
): YamlSource {
  const indexes = new Map<YAMLMap, Map<string, { key: unknown; value: unknown }>>();
  const resolved = (node: unknown) => (node instanceof Alias ? targets.get(node) : node);

  function index(map: YAMLMap) {
    let found = indexes.get(map);
    if (found === undefined) {
      found = new Map();
      for (const { key, value } of map.items) {
        if (isScalar(key) && typeof key.value === "string" && !found.has(key.value))
          found.set(key.value, { key, value });
      }
      indexes.set(map, found);
    }
    return found;
  }

  function find(path: YamlPath) {
    let key: unknown;
    let node = top;
    let whole = true;
    for (const step of path) {
      const parent = resolved(node);
      const next = isMap(parent)
        ? index(parent).get(String(step))
        : isSeq(parent)
          ? { key: parent.items[Number(step)], value: parent.items[Number(step)] }
          : undefined;
      whole = next?.value !== undefined;
      if (next === undefined) break;
      key = next.key;
      node = next.value;
    }
    return { key, node, whole };
  }

  return {
    value,
    position(path, part) {
      const { key, node, whole } = find(path);
      const offset = part === "value" && whole ? (offsetOf(node) ?? offsetOf(key)) : (offsetOf(key) ?? offsetOf(node));
      return at(offset ?? 0);
    },
    keys(path) {
      const { node, whole } = find(path);
      const map = resolved(node);
      return whole && isMap(map) ? [...index(map).keys()] : [];
    },
  };
}

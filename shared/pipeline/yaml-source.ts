import { type Alias, type ErrorCode, isAlias, isMap, isScalar, isSeq, type YAMLMap, type YAMLParseError } from "yaml";
import { limits } from "../limits.ts";
import { placeInOrder } from "../place-in-order.ts";
import type { Located, LocatedEntry, Place, PlacedDocument } from "./located.ts";
import type { Position } from "./pipeline.ts";
import { readYamlDocument } from "./yaml-document.ts";

export interface YamlProblem extends Position {
  readonly message: string;
  readonly hint?: string;
}

/** Problems may come with a tree: what is wrong then does not hide what else is wrong. */
export interface YamlReading {
  readonly top?: Located;
  readonly problems: readonly YamlProblem[];
  /** How many it has, counting what aliases stand for. */
  readonly values: number;
}

/**
 * Reads one YAML document. Hostile files are expected: the size of what aliases expand to, the depth and the keys are
 * bounded, and no tag makes anything but text, lists and mappings.
 * @param file names it in the places of its values.
 * @param places whether those are lines of the text, or paths of keys where nobody has written it
 */
export function readYaml(text: string, file: string, places: "lines" | "paths" = "lines"): YamlReading {
  const { document, position: at, tooDeepAt, secondAt } = readYamlDocument(text);
  const refused = (problems: readonly YamlProblem[]): YamlReading => ({ problems, values: 0 });
  if (tooDeepAt !== undefined) return refused([{ ...at(tooDeepAt), message: tooDeep }]);
  if (document.errors.length > 0) return refused(syntaxProblems(text, document.errors, at));
  if (secondAt !== undefined) {
    const hint = "keep one of them, and put the others into files of their own";
    return refused([{ ...at(secondAt), message: "the file holds several documents", hint }]);
  }
  const tags = document.warnings.map((warning) => {
    return {
      ...at(warning.pos[0]),
      message: "tags are not supported",
      hint: "leave it out: every value is read as text",
    };
  });
  const top: unknown = document.contents;
  if (top === null || (isScalar(top) && top.value === "")) {
    return refused([{ line: 1, column: 1, message: "the file is empty", hint: "`millrace init` writes a starter" }]);
  }
  const place = places === "lines" ? at : (offset: number) => ({ line: 1, column: 1, path: pathTo(top, offset) });
  const placed: PlacedDocument = { file, position: place };
  const walk = walker(placed);
  const tree = walk.convert(top, { document: placed, offset: 0 }, 0);
  const problems = walk.problems.map(({ offset, ...problem }) => ({ ...place(offset), ...problem }));
  return { top: tree, problems: [...tags, ...problems], values: walk.size() };
}

function syntaxProblems(
  text: string,
  errors: readonly YAMLParseError[],
  at: (offset: number) => Position,
): YamlProblem[] {
  const problems: YamlProblem[] = [];
  const lines = text.split("\n");
  for (const error of errors.slice(0, limits.pipelineProblems)) {
    const place = at(error.pos[0]);
    const hint = syntaxHints[error.code];
    const problem = { ...place, message: syntaxMessage(error.message), ...(hint === undefined ? {} : { hint }) };
    if (/\$\{\{/.test(lines[place.line - 1] ?? "")) {
      // The braces of an expression end the mapping that it stands in; what follows from that tells nobody anything.
      problems.push({ ...problem, hint: 'put a value with ${{ }} into quotes: "${{ … }}"' });
      break;
    }
    problems.push(problem);
  }
  return problems;
}

/** In words of a file, where the library speaks of its own parts. */
function syntaxMessage(message: string): string {
  const token = /^Unexpected \S+ token in YAML stream: (.*)$/s.exec(message)?.[1];
  if (token !== undefined) return `unexpected ${token}`;
  const quote = /^Missing closing (["'])quote$/.exec(message)?.[1];
  if (quote !== undefined) return `a text in ${quote} has no ${quote} at its end`;
  if (message === "Unexpected scalar at node end") return "unexpected text after a value";
  return message.charAt(0).toLowerCase() + message.slice(1);
}

/** What to do about errors whose words say only what is wrong. */
const syntaxHints: { readonly [code in ErrorCode]?: string } = {
  TAB_AS_INDENT: "indent with spaces",
  BAD_INDENT: "indent what belongs together by the same number of spaces",
  BAD_SCALAR_START: 'put it into quotes: "…"',
  BAD_DQ_ESCAPE: "write \\\\ for a backslash, or use single quotes",
  MISSING_CHAR: "look above it for what was opened and not closed",
  BLOCK_AS_IMPLICIT_KEY: 'put a value that has ": " in it into quotes',
  KEY_OVER_1024_CHARS: "no key of a pipeline is so long",
  MULTILINE_IMPLICIT_KEY: 'write the key and its ":" in one line',
  UNEXPECTED_TOKEN: "remove it, or put the value that it is part of into quotes",
};

const tooDeep = `this is nested more than ${limits.pipelineDepth} levels deep`;

interface WalkProblem {
  readonly offset: number;
  readonly message: string;
  readonly hint?: string;
}

/** Turns nodes into values in the order of the file, so that an alias finds the anchor before it without a search. */
function walker(document: PlacedDocument) {
  const problems: WalkProblem[] = [];
  const anchors = new Map<string, { tree: Located; size: number }>();
  let size = 0;
  let tooLarge = false;

  const report = (node: unknown, message: string, hint?: string) =>
    problems.push({ offset: offsetOf(node) ?? 0, message, ...(hint === undefined ? {} : { hint }) });

  /** @param near is where it would stand if it is nothing at all, as the value of a key without one. */
  function convert(node: unknown, near: Place, depth: number): Located {
    const before = size;
    const offset = offsetOf(node);
    const at = offset === undefined ? near : { document, offset };
    const nothing: Located = { kind: "text", text: "", at };
    size += 1;
    if (tooLarge) return nothing;
    if (size > limits.pipelineValues) {
      tooLarge = true;
      report(node, `the file has more than ${limits.pipelineValues} values, counting what aliases stand for`);
      return nothing;
    }
    if (depth > limits.pipelineDepth) {
      report(node, tooDeep);
      return nothing;
    }
    if (isAlias(node)) return convertAlias(node, nothing);
    const tree = convertCollection(node, at, depth);
    const anchor = isScalar(node) || isMap(node) || isSeq(node) ? node.anchor : undefined;
    if (anchor !== undefined) anchors.set(anchor, { tree, size: size - before });
    return tree;
  }

  function convertAlias(alias: Alias, nothing: Located): Located {
    const anchor = anchors.get(alias.source);
    if (anchor === undefined) {
      report(alias, `there is no anchor &${alias.source} before this alias`);
      return nothing;
    }
    size += anchor.size;
    return { ...anchor.tree, at: nothing.at };
  }

  function convertCollection(node: unknown, at: Place, depth: number): Located {
    if (isSeq(node)) return { kind: "list", items: node.items.map((item) => convert(item, at, depth + 1)), at };
    if (isMap(node)) return { kind: "map", entries: convertMap(node, at, depth), at };
    return { kind: "text", text: isScalar(node) && typeof node.value === "string" ? node.value : "", at };
  }

  function convertMap(map: YAMLMap, at: Place, depth: number): ReadonlyMap<string, LocatedEntry> {
    const entries = new Map<string, LocatedEntry>();
    for (const { key, value } of map.items) {
      if (!isScalar(key) || typeof key.value !== "string") {
        report(key, "a key must be plain text");
      } else if (key.value === "<<") {
        report(key, "merge keys are not supported", "use an alias for the whole value, or `templates`");
      } else if (key.value === "__proto__") {
        report(key, `"__proto__" cannot be a key`);
      } else if (entries.has(key.value)) {
        report(key, `"${key.value}" is given twice`, "keep one of them");
      } else {
        const place = { document, offset: offsetOf(key) ?? at.offset };
        entries.set(key.value, { key: place, value: convert(value, place, depth + 1) });
      }
    }
    return entries;
  }

  return { convert, problems, size: () => size };
}

/** The keys that lead to what stands at an offset, as in `stages.build.needs[0]`. Of 100,000 neighbours it looks at 17. */
function pathTo(top: unknown, offset: number): string {
  const isBefore = (node: unknown) => (offsetOf(node) ?? Number.POSITIVE_INFINITY) <= offset;
  let path = "";
  for (let node = top; ; ) {
    if (isMap(node)) {
      const pair = node.items[placeInOrder(node.items, ({ key }) => isBefore(key)) - 1];
      if (!isScalar(pair?.key)) return path;
      const key = String(pair.key.value);
      if (/^[\w-]+$/.test(key)) path += path === "" ? key : `.${key}`;
      else path += `[${JSON.stringify(key)}]`;
      if (!isBefore(pair.value)) return path;
      node = pair.value;
    } else if (isSeq(node)) {
      const index = placeInOrder(node.items, isBefore) - 1;
      if (index < 0) return path;
      path += `[${index}]`;
      node = node.items[index];
    } else return path;
  }
}

function offsetOf(node: unknown): number | undefined {
  if (!isAlias(node) && !isScalar(node) && !isMap(node) && !isSeq(node)) return undefined;
  return node.range?.[0];
}

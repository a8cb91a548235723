import { parseAst } from "vitest/node";
import type { SourceFile } from "./source-files.ts";

/**
 * A node of the syntax tree, as ESTree names it (with the TS extensions). The tree is Oxc's, by way of Vitest: the
 * compiler's own interface is not stable in TypeScript 7.
 */
export interface SyntaxNode {
  readonly type: string;
  readonly start: number;
  readonly end: number;
  readonly [field: string]: unknown;
}

/** A comment with its delimiters. */
export interface Comment {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** A file with its tree. */
export interface ParsedFile extends SourceFile {
  readonly program: SyntaxNode;
  readonly comments: readonly Comment[];
}

/** Parses TypeScript or JavaScript. Throws on a syntax error. */
export function parseSource(file: SourceFile): ParsedFile {
  // oxlint-disable-next-line typescript/no-deprecated -- Vitest does not export its successor, and Vite is not ours to import
  const program: unknown = parseAst(file.text, { lang: "ts", astType: "ts" }, file.path);
  if (!isNode(program)) throw new Error(`${file.path}: the parser gave no tree`);
  return { ...file, program, comments: commentsOf(file.text, program) };
}

function isNode(value: unknown): value is SyntaxNode {
  return typeof value === "object" && value !== null && "type" in value && "start" in value && "end" in value;
}

/** The node in a field, if there is one. */
export function childOf(node: SyntaxNode, field: string): SyntaxNode | undefined {
  const value = node[field];
  return isNode(value) ? value : undefined;
}

/** The nodes in a field that holds a list. */
export function childrenOf(node: SyntaxNode, field: string): SyntaxNode[] {
  const value = node[field];
  return Array.isArray(value) ? value.filter(isNode) : [];
}

/** The text of a field, for names, operators and string literals. */
export function textOf(node: SyntaxNode | undefined, field: string): string | undefined {
  const value = node?.[field];
  return typeof value === "string" ? value : undefined;
}

/** The node and all below it, in the order of the text, each with the nodes above it (nearest last). */
export function* descendants(
  node: SyntaxNode,
  above: readonly SyntaxNode[] = [],
): Generator<{ node: SyntaxNode; above: readonly SyntaxNode[] }> {
  yield { node, above };
  const inside = [...above, node];
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) yield* descendants(child, inside);
  }
}

/** A comment is where the text says so outside of strings, templates and regular expressions. */
function commentsOf(text: string, program: SyntaxNode): Comment[] {
  const quoted = [...descendants(program)]
    .map(({ node }) => node)
    .filter((node) => node.type === "Literal" || node.type === "TemplateElement")
    .sort((a, b) => a.start - b.start);
  const comments: Comment[] = [];
  let at = 0;
  for (const literal of [...quoted, { start: text.length, end: text.length }]) {
    while (at < literal.start) {
      const found = /\/\/[^\n]*|\/\*[\s\S]*?\*\//g;
      found.lastIndex = at;
      const match = found.exec(text);
      if (match === null || match.index >= literal.start) break;
      comments.push({ text: match[0], start: match.index, end: match.index + match[0].length });
      at = match.index + match[0].length;
    }
    at = Math.max(at, literal.end);
  }
  return comments;
}

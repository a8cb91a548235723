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
  /** All nodes; most rules go through them. */
  readonly nodes: readonly PlacedNode[];
}

/** Parses TypeScript or JavaScript. Throws on a syntax error. */
export function parseSource(file: SourceFile): ParsedFile {
  // oxlint-disable-next-line typescript/no-deprecated -- Vitest does not export its successor, and Vite is not ours to import
  const program: unknown = parseAst(file.text, { lang: "ts", astType: "ts" }, file.path);
  if (!isNode(program)) throw new Error(`${file.path}: the parser gave no tree`);
  const nodes = descendants(program);
  return { ...file, program, nodes, comments: commentsOf(file.text, nodes) };
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

/** A node, and the nodes above it (nearest last). */
export interface PlacedNode {
  readonly node: SyntaxNode;
  readonly above: readonly SyntaxNode[];
}

/** The node and all below it, in the order of the text. */
export function descendants(node: SyntaxNode): PlacedNode[] {
  const found: PlacedNode[] = [];
  const visit = (placed: PlacedNode): void => {
    found.push(placed);
    const above = [...placed.above, placed.node];
    for (const value of Object.values(placed.node)) {
      for (const child of Array.isArray(value) ? value : [value]) if (isNode(child)) visit({ node: child, above });
    }
  };
  visit({ node, above: [] });
  return found;
}

/** A comment is where the text says so outside of strings, templates and regular expressions. */
function commentsOf(text: string, nodes: readonly PlacedNode[]): Comment[] {
  const quoted = nodes
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

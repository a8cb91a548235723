import { basename } from "node:path/posix";
import { docstringFindings } from "./docstring-rule.ts";
import { type Finding, lineAt } from "./source-files.ts";
import { childOf, childrenOf, descendants, type ParsedFile, type SyntaxNode, textOf } from "./syntax.ts";

/** What a rule says about one file. */
export type CodeRule = (file: ParsedFile) => Finding[];

const fileLinesMax = 400;
const functionLinesMax = 70;
/** A wiring is a list of parts in their order; cut for its length, it would hide what it is there to show. */
const wiringLinesMax = 100;
/** Folders whose exports other people build on. */
const documentedFolders = /^(shared|coordinator|agent|cli)\//;

/** The rules for code that people wrote, by name. CONTRIBUTING.md says why each is there. */
export const codeRules = {
  "files have at most 400 lines": (file) => {
    const lines = file.text.trimEnd().split("\n").length;
    if (lines <= fileLinesMax) return [];
    return [finding(file, file.program, `has ${lines} lines; at most ${fileLinesMax}: a second concept wants out`)];
  },

  // A function that is written inside another counts for itself: a factory is as long as what it says on its own.
  "functions have at most 70 lines": (file) =>
    nodes(file)
      .filter(isFunction)
      .flatMap((node) => {
        const lines = ownLines(file, node);
        const most = file.path.endsWith("/wiring.ts") ? wiringLinesMax : functionLinesMax;
        return lines <= most ? [] : [finding(file, node, `a function of ${lines} lines; at most ${most}`)];
      }),

  "nothing is exported as default": (file) =>
    nodes(file)
      .filter((node) => node.type === "ExportDefaultDeclaration" && !/(^|\/)\w+\.config\.ts$/.test(file.path))
      .map((node) => finding(file, node, "a default export: give it the name by which all will know it")),

  // The module of a program or a test is its main function: nobody imports it, so nobody shares its state.
  "modules hold no state": (file) =>
    /^bin\/|-process\.mjs$|\.test\.ts$/.test(file.path)
      ? []
      : topLevel(file).flatMap((declaration) => stateFindings(file, declaration)),

  "a file is more than a list of re-exports": (file) => {
    const statements = childrenOf(file.program, "body").filter((node) => node.type !== "ImportDeclaration");
    const barrel =
      statements.length > 0 &&
      statements.every(
        (node) =>
          isExport(node) && childOf(node, "declaration") === undefined && node.type !== "ExportDefaultDeclaration",
      );
    return barrel ? [finding(file, file.program, "only passes on what other files export: import from those")] : [];
  },

  "there is no enum and no namespace": (file) =>
    nodes(file)
      .filter(
        (node) =>
          node.type === "TSEnumDeclaration" ||
          (node.type === "TSModuleDeclaration" && textOf(node, "kind") === "namespace"),
      )
      .map((node) => finding(file, node, "an enum or namespace: Node cannot strip it; use a union or a module")),

  "no catch is silent": (file) =>
    nodes(file)
      .map(emptyHandler)
      .filter((block) => block !== undefined)
      .filter((block) => !isExplained(file, block))
      .map((block) => finding(file, block, "swallows every error: handle it, or say in a comment why none matters")),

  "a note about work to do names its issue": (file) =>
    file.comments
      .filter((comment) => isUnownedNote(comment.text))
      .map((comment) => finding(file, comment, "work to do without an issue: write the marker with (#12) behind it")),

  "what is exported says what it is for": (file) => (documentedFolders.test(file.path) ? docstringFindings(file) : []),
} as const satisfies Record<string, CodeRule>;

/** The rules for tests, by name. */
export const testRules = {
  "no test is left out or run alone": (file) =>
    nodes(file)
      .filter((node) => node.type === "MemberExpression")
      .filter((node) => ["only", "skip", "todo"].includes(textOf(childOf(node, "property"), "name") ?? ""))
      .filter((node) => ["test", "it", "describe"].includes(textOf(rootOf(node), "name") ?? ""))
      .map((node) => finding(file, node, "leaves out tests: mend or delete, or `skipIf` with the reason")),

  // A timer that is cleared is no sleep but a bound: it fires only when the awaited event has not come.
  "no test sleeps": (file) =>
    file.nodes
      .filter(({ node }) =>
        node.type === "ImportDeclaration"
          ? /^(node:)?timers(\/promises)?$/.test(sourceOf(node))
          : node.type === "CallExpression" && isSleep(childOf(node, "callee")),
      )
      .filter(({ above }) => !isCleared(file, above.at(-1)))
      .map(({ node }) => finding(file, node, "waits for time to pass: wait for the event, or advance the fake clock")),
} as const satisfies Record<string, CodeRule>;

/** Whether the text has a marker of work to do without the number of an issue. */
export function isUnownedNote(text: string): boolean {
  return /\b(?:TODO|FIXME|XXX|HACK)\b(?!\(#\d+\))/.test(text);
}

/** Names of code files and their folders: kebab-case; generated, Python and proto files follow their own tools. */
export function nameFindings(path: string): Finding[] {
  if (!/\.(ts|mts|mjs|js|sh)$/.test(path)) return [];
  const wrong = path.split("/").find((part) => !/^\.?[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*$/.test(part));
  return wrong === undefined ? [] : [{ path, line: 1, message: `"${wrong}" is not kebab-case (${basename(path)})` }];
}

function finding(file: ParsedFile, at: { readonly start: number }, message: string): Finding {
  return { path: file.path, line: lineAt(file.text, at.start), message };
}

function nodes(file: ParsedFile): SyntaxNode[] {
  return file.nodes.map(({ node }) => node);
}

function isFunction(node: SyntaxNode): boolean {
  return ["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"].includes(node.type);
}

function isExport(node: SyntaxNode): boolean {
  return /^Export(Named|Default|All)?Declaration$/.test(node.type);
}

function ownLines(file: ParsedFile, node: SyntaxNode): number {
  const lines = spanLines(file, node);
  const inner = descendants(node).filter(
    (below) =>
      below.node !== node &&
      isFunction(below.node) &&
      !below.above.some((outer) => outer !== node && isFunction(outer)),
  );
  return inner.reduce((rest, below) => rest - Math.max(0, spanLines(file, below.node) - 1), lines);
}

function spanLines(file: ParsedFile, node: SyntaxNode): number {
  return lineAt(file.text, node.end) - lineAt(file.text, node.start) + 1;
}

interface TopLevelConstant {
  readonly declaration: SyntaxNode;
  readonly exported: boolean;
}

function topLevel(file: ParsedFile): TopLevelConstant[] {
  return childrenOf(file.program, "body").flatMap((statement) => {
    const exported = isExport(statement);
    const declaration = exported ? childOf(statement, "declaration") : statement;
    return declaration?.type === "VariableDeclaration" ? [{ declaration, exported }] : [];
  });
}

function stateFindings(file: ParsedFile, { declaration, exported }: TopLevelConstant): Finding[] {
  if (textOf(declaration, "kind") !== "const") {
    return [finding(file, declaration, "a variable of the module: state belongs to whoever a factory makes")];
  }
  return childrenOf(declaration, "declarations").flatMap((declarator) => {
    const name = textOf(childOf(declarator, "id"), "name");
    if (exported && isOpenCollection(declarator)) {
      return [finding(file, declarator, `exports the collection ${name} for all to change: make its type read-only`)];
    }
    if (name !== undefined && isChanged(file, name)) {
      return [finding(file, declarator, `the module changes ${name}: state belongs to whoever a factory makes`)];
    }
    return [];
  });
}

const collectionTypes: ReadonlySet<string> = new Set(["Map", "Set", "WeakMap", "WeakSet", "Array"]);

/** An array, Map or Set whose declared or inferred type lets an importer change it. */
function isOpenCollection(declarator: SyntaxNode): boolean {
  const annotation = childOf(childOf(declarator, "id") ?? declarator, "typeAnnotation");
  const type = annotation === undefined ? undefined : childOf(annotation, "typeAnnotation");
  if (type !== undefined) {
    const name = textOf(childOf(type, "typeName"), "name");
    return type.type === "TSArrayType" || (name !== undefined && collectionTypes.has(name));
  }
  const value = childOf(declarator, "init");
  if (value?.type === "ArrayExpression") return true;
  return value?.type === "NewExpression" && collectionTypes.has(textOf(childOf(value, "callee"), "name") ?? "");
}

const mutators: ReadonlySet<string> = new Set(
  "set add delete clear push pop shift unshift splice sort reverse fill".split(" "),
);

/** Whether the file assigns to a member of the constant or calls a method on it that changes collections. */
function isChanged(file: ParsedFile, name: string): boolean {
  return nodes(file).some((node) => {
    if (node.type === "CallExpression") {
      const callee = childOf(node, "callee");
      if (callee?.type !== "MemberExpression") return false;
      const method = textOf(childOf(callee, "property"), "name") ?? "";
      return mutators.has(method) && textOf(childOf(callee, "object"), "name") === name;
    }
    const target = childOf(node, node.type === "UpdateExpression" ? "argument" : "left");
    const changes = node.type === "AssignmentExpression" || node.type === "UpdateExpression";
    return changes && target?.type === "MemberExpression" && textOf(childOf(target, "object"), "name") === name;
  });
}

/** The empty block of a `catch`, or of the function given to `.catch(…)`. */
function emptyHandler(node: SyntaxNode): SyntaxNode | undefined {
  if (node.type === "CatchClause") return emptyBlock(childOf(node, "body"));
  if (node.type !== "CallExpression") return undefined;
  if (textOf(childOf(childOf(node, "callee") ?? node, "property"), "name") !== "catch") return undefined;
  const handler = childrenOf(node, "arguments")[0];
  return handler !== undefined && isFunction(handler) ? emptyBlock(childOf(handler, "body")) : undefined;
}

function emptyBlock(block: SyntaxNode | undefined): SyntaxNode | undefined {
  return block?.type === "BlockStatement" && childrenOf(block, "body").length === 0 ? block : undefined;
}

/** Whether a comment stands in the block or behind it on the same line. */
function isExplained(file: ParsedFile, block: SyntaxNode): boolean {
  const lineEnd = file.text.indexOf("\n", block.end);
  return file.comments.some((comment) => comment.start > block.start && (lineEnd === -1 || comment.start < lineEnd));
}

function isSleep(callee: SyntaxNode | undefined): boolean {
  const name = textOf(callee, "name") ?? textOf(childOf(callee ?? { type: "", start: 0, end: 0 }, "property"), "name");
  return name === "setTimeout" || name === "setInterval" || name === "sleep";
}

function isCleared(file: ParsedFile, declarator: SyntaxNode | undefined): boolean {
  const name = declarator?.type === "VariableDeclarator" ? textOf(childOf(declarator, "id"), "name") : undefined;
  return nodes(file).some(
    (node) =>
      node.type === "CallExpression" &&
      textOf(childOf(node, "callee"), "name") === "clearTimeout" &&
      name !== undefined &&
      textOf(childrenOf(node, "arguments")[0], "name") === name,
  );
}

function sourceOf(node: SyntaxNode): string {
  return textOf(childOf(node, "source"), "value") ?? "";
}

/** `test` of `test.concurrent.only`. */
function rootOf(node: SyntaxNode): SyntaxNode {
  const object = childOf(node, "object");
  return object === undefined ? node : rootOf(object);
}

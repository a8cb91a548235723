import { type Finding, lineAt } from "./source-files.ts";
import { childOf, childrenOf, descendants, type ParsedFile, type SyntaxNode, textOf } from "./syntax.ts";

/** Functions with a body this short say by themselves what they do. */
const selfEvidentLines = 3;

/**
 * Exports that need words and have none. Words are needed by every class, by an interface (or object type) with three
 * members or a method, and by a function whose body is longer than three lines. Nothing here asks for a sentence that
 * repeats a name, so a docstring on a member counts for its interface, that of a function counts for the options it
 * takes, and that of an interface counts for the factory in the same file that returns it.
 */
export function docstringFindings(file: ParsedFile): Finding[] {
  const exported = childrenOf(file.program, "body").flatMap((statement) => {
    const declaration = statement.type === "ExportNamedDeclaration" ? childOf(statement, "declaration") : undefined;
    return declaration === undefined ? [] : [{ statement, declaration }];
  });
  const documented = exported.filter(({ statement }) => hasDocstring(file, statement));
  const explained = new Set(documented.map(({ declaration }) => nameOf(declaration) ?? ""));
  for (const { declaration } of exported) {
    const covered =
      explained.has(nameOf(declaration) ?? "") || returnedTypes(declaration).some((name) => explained.has(name));
    if (covered) for (const name of parameterTypes(declaration)) explained.add(name);
  }
  return exported
    .filter(({ declaration }) => needsWords(file, declaration, explained))
    .map(({ statement, declaration }) => ({
      path: file.path,
      line: lineAt(file.text, statement.start),
      message: `${nameOf(declaration) ?? "an export"} has no docstring: purpose, units, bounds, errors, why`,
    }));
}

function needsWords(file: ParsedFile, declaration: SyntaxNode, explained: ReadonlySet<string>): boolean {
  if (explained.has(nameOf(declaration) ?? "")) return false;
  switch (declaration.type) {
    case "ClassDeclaration":
      return true;
    case "FunctionDeclaration":
      return (
        bodyLines(file, declaration) > selfEvidentLines &&
        !returnedTypes(declaration).some((name) => explained.has(name))
      );
    case "TSInterfaceDeclaration":
      return isLarge(file, childOf(declaration, "body"), "body");
    case "TSTypeAliasDeclaration": {
      const type = childOf(declaration, "typeAnnotation");
      return type?.type === "TSTypeLiteral" && isLarge(file, type, "members");
    }
    default:
      return false;
  }
}

function isLarge(file: ParsedFile, type: SyntaxNode | undefined, field: string): boolean {
  const members = type === undefined ? [] : childrenOf(type, field);
  const hasMethod = members.some((member) => member.type === "TSMethodSignature");
  return (members.length >= 3 || hasMethod) && !members.some((member) => hasDocstring(file, member));
}

function hasDocstring(file: ParsedFile, node: SyntaxNode): boolean {
  return file.comments.some(
    (comment) =>
      comment.text.startsWith("/**") &&
      comment.end <= node.start &&
      file.text.slice(comment.end, node.start).trim() === "",
  );
}

function bodyLines(file: ParsedFile, declaration: SyntaxNode): number {
  const body = childOf(declaration, "body");
  if (body === undefined) return 0;
  return lineAt(file.text, body.end) - lineAt(file.text, body.start) - 1;
}

function nameOf(declaration: SyntaxNode): string | undefined {
  return textOf(childOf(declaration, "id"), "name");
}

/** The names in a function's result type: `P & Q` and `Promise<P>` name P. */
function returnedTypes(declaration: SyntaxNode): string[] {
  const type = childOf(declaration, "returnType");
  return type === undefined ? [] : typeNames(type);
}

function parameterTypes(declaration: SyntaxNode): string[] {
  return childrenOf(declaration, "params").flatMap(typeNames);
}

function typeNames(node: SyntaxNode): string[] {
  return descendants(node).flatMap(({ node: type }) =>
    type.type === "TSTypeReference" ? [textOf(childOf(type, "typeName"), "name") ?? ""] : [],
  );
}

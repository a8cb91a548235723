import { celString, identifier } from "./draft.ts";

// Expressions of GitHub Actions as those of a pipeline file (CEL).

/** What an expression comes to, or why it cannot be said here. */
export type Translation = { readonly cel: string } | { readonly gap: string };

/** Translates one expression, without `${{` and `}}`. */
export function githubExpression(text: string): Translation {
  const tokens = tokensOf(text);
  if (tokens === undefined) return { gap: `\`${text.trim()}\` cannot be read` };
  const parser = { tokens, at: 0 };
  try {
    const cel = disjunction(parser);
    return parser.at === tokens.length ? { cel } : { gap: `\`${text.trim()}\` cannot be read` };
  } catch (error) {
    if (error instanceof Untranslatable) return { gap: error.message };
    throw error;
  }
}

class Untranslatable extends Error {}

interface Parser {
  readonly tokens: readonly string[];
  at: number;
}

function tokensOf(text: string): string[] | undefined {
  const pattern =
    /\s*('(?:[^']|'')*'|\d+(?:\.\d+)?|[A-Za-z_][\w-]*(?:\.(?:[A-Za-z_][\w-]*|\*))*|&&|\|\||[=!<>]=|[<>!()[\],])/y;
  const tokens: string[] = [];
  let end = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    tokens.push(match[1] ?? "");
    end = pattern.lastIndex;
  }
  return text.slice(end).trim() === "" ? tokens : undefined;
}

function disjunction(parser: Parser): string {
  return chain(parser, "||", conjunction);
}

function conjunction(parser: Parser): string {
  return chain(parser, "&&", comparison);
}

function chain(parser: Parser, operator: string, part: (parser: Parser) => string): string {
  const parts = [part(parser)];
  while (parser.tokens[parser.at] === operator) {
    parser.at += 1;
    parts.push(part(parser));
  }
  return parts.length === 1 ? (parts[0] ?? "") : parts.join(` ${operator} `);
}

function comparison(parser: Parser): string {
  const start = parser.at;
  const left = unary(parser);
  const operator = parser.tokens[parser.at] ?? "";
  if (!/^[=!<>]=$|^[<>]$/.test(operator)) return left === "ref" ? fail("`github.ref` as a condition") : left;
  parser.at += 1;
  const right = unary(parser);
  // Only `refs/heads/…` and `refs/tags/…` have a meaning here: a branch, or a tag.
  const ref = left === "ref" ? right : right === "ref" ? left : undefined;
  if (ref === undefined) return `${left} ${operator} ${right}`;
  const [, kind, name] =
    /^'refs\/(heads|tags)\/(.*)'$/.exec(ref) ?? fail(`\`${parser.tokens.slice(start, parser.at).join(" ")}\``);
  return `${kind === "heads" ? "branch" : "tag"} ${operator} '${name}'`;
}

function unary(parser: Parser): string {
  const token = parser.tokens[parser.at] ?? fail("an expression that ends too early");
  parser.at += 1;
  if (token === "!") return `!${unary(parser)}`;
  if (token === "(") {
    const inner = disjunction(parser);
    if (parser.tokens[parser.at] !== ")") fail("an expression without its `)`");
    parser.at += 1;
    return `(${inner})`;
  }
  if (token.startsWith("'")) return celString(token.slice(1, -1).replaceAll("''", "'"));
  if (/^\d/.test(token) || token === "true" || token === "false") return token;
  if (parser.tokens[parser.at] === "(") return call(token, parser);
  return variable(token);
}

function call(name: string, parser: Parser): string {
  parser.at += 1;
  const values: string[] = [];
  while (parser.tokens[parser.at] !== ")") {
    const isRef = parser.tokens[parser.at] === "github.ref" && parser.tokens[parser.at + 1] === ",";
    values.push(isRef ? unary(parser) : disjunction(parser));
    if (parser.tokens[parser.at] === ",") parser.at += 1;
    else if (parser.tokens[parser.at] !== ")") fail(`\`${name}(…)\``);
  }
  parser.at += 1;
  const [first = "", second = ""] = values;
  switch (name.toLowerCase()) {
    case "success":
      return "true";
    case "startswith":
      return first === "ref" ? refPrefix(second) : `${first}.startsWith(${second})`;
    case "endswith":
      return first === "ref" ? `branch.endsWith(${second})` : `${first}.endsWith(${second})`;
    case "contains":
      return first === "ref" ? `branch.contains(${second})` : `${first}.contains(${second})`;
    default:
      return fail(`\`${name}(…)\``);
  }
}

/** `startsWith(github.ref, 'refs/tags/v')` speaks of tags. */
function refPrefix(prefix: string): string {
  const [, kind, name] =
    /^'refs\/(heads|tags)\/?(.*)'$/.exec(prefix) ?? fail("`startsWith(github.ref, …)` of another kind of ref");
  const variable = kind === "heads" ? "branch" : "tag";
  return name === "" ? `${variable} != ''` : `${variable}.startsWith('${name}')`;
}

function variable(path: string): string {
  const [root = "", ...rest] = path.split(".");
  const name = rest.join(".");
  if (root === "matrix" && rest.length === 1) return `matrix.${identifier(name)}`;
  if (root === "inputs" && rest.length === 1) return `params.${identifier(name)}`;
  if (path.startsWith("github.event.inputs.") && rest.length === 3) return `params.${identifier(rest[2] ?? "")}`;
  return known.get(path) ?? fail(`\`${path}\``);
}

const known: ReadonlyMap<string, string> = new Map([
  ["github.ref", "ref"],
  ["github.ref_name", "branch"],
  ["github.head_ref", "branch"],
  ["github.sha", "commit"],
  ["github.event_name", "trigger"],
  ["runner.os", "'Linux'"],
]);

function fail(what: string): never {
  throw new Untranslatable(what);
}

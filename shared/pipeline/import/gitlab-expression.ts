import { celString, identifier } from "./draft.ts";

// Conditions of GitLab rules as expressions of a pipeline file (CEL).

/** What a condition comes to, or why it cannot be said here. */
export type Translation = { readonly cel: string } | { readonly gap: string };

/** What is known of variables. */
export interface GitlabScope {
  /** Parameters of the run. */
  readonly params: ReadonlySet<string>;
  /** Values that the file gives. */
  readonly values: ReadonlyMap<string, string>;
}

class Untranslatable extends Error {}

interface Parser {
  readonly tokens: readonly string[];
  readonly scope: GitlabScope;
  at: number;
}

/** Translates the condition of one rule. */
export function gitlabExpression(text: string, scope: GitlabScope): Translation {
  const pattern = /\s*(&&|\|\||[=!]=|[=!]~|[()]|null\b|"[^"]*"|'[^']*'|\/(?:[^/\\]|\\.)+\/i?|\$\{?[A-Za-z_]\w*\}?)/y;
  const tokens: string[] = [];
  let end = 0;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    tokens.push(match[1] ?? "");
    end = pattern.lastIndex;
  }
  const parser = { tokens, scope, at: 0 };
  try {
    if (text.slice(end).trim() !== "") fail(`\`${text.trim()}\``);
    const cel = chain(parser, "||", (inner) => chain(inner, "&&", comparison));
    return parser.at === tokens.length ? { cel } : { gap: `\`${text.trim()}\`` };
  } catch (error) {
    if (error instanceof Untranslatable) return { gap: error.message };
    throw error;
  }
}

function chain(parser: Parser, operator: string, part: (parser: Parser) => string): string {
  const parts = [part(parser)];
  while (parser.tokens[parser.at] === operator) {
    parser.at += 1;
    parts.push(part(parser));
  }
  return parts.join(` ${operator} `);
}

function comparison(parser: Parser): string {
  const token = parser.tokens[parser.at] ?? fail("a condition that ends too early");
  if (token === "(") {
    parser.at += 1;
    const inner = chain(parser, "||", (one) => chain(one, "&&", comparison));
    if (parser.tokens[parser.at] !== ")") fail("a condition without its `)`");
    parser.at += 1;
    return `(${inner})`;
  }
  const left = operand(parser);
  const operator = parser.tokens[parser.at] ?? "";
  if (/^[=!]=$/.test(operator)) {
    parser.at += 1;
    const right = operand(parser);
    const [value, other] = left.startsWith("'") ? [right, left] : [left, right];
    return `${value} ${operator} ${value === "trigger" ? triggerWord(other) : other}`;
  }
  if (/^[=!]~$/.test(operator)) {
    parser.at += 1;
    const regex = parser.tokens[parser.at] ?? "";
    parser.at += 1;
    if (!regex.startsWith("/")) fail(`\`${operator} ${regex}\``);
    return `${operator === "!~" ? "!" : ""}${left}.matches(${regexText(regex)})`;
  }
  return left.startsWith("'") ? String(left !== "''") : `${left} != ''`;
}

/** `/^v\d/i` as a text of CEL; its slashes need no backslash there. */
export function regexText(regex: string): string {
  const body = regex.replace(/^\/([\s\S]*)\/i?$/, "$1").replaceAll("\\/", "/");
  return celString(regex.endsWith("i") ? `(?i)${body}` : body);
}

function operand(parser: Parser): string {
  const token = parser.tokens[parser.at] ?? fail("a condition that ends too early");
  parser.at += 1;
  if (token === "null") return "''";
  if (/^["']/.test(token)) return celString(token.slice(1, -1));
  if (!token.startsWith("$")) fail(`\`${token}\``);
  const name = token.replace(/^\$\{?|\}$/g, "");
  const value = parser.scope.values.get(name);
  return (
    known.get(name) ??
    (parser.scope.params.has(name)
      ? `params.${identifier(name)}`
      : value !== undefined
        ? celString(value)
        : fail(`\`$${name}\``))
  );
}

/** Variables of GitLab that a run has under another name. */
const known: ReadonlyMap<string, string> = new Map([
  ["CI_COMMIT_BRANCH", "branch"],
  ["CI_COMMIT_REF_NAME", "branch"],
  ["CI_COMMIT_TAG", "tag"],
  ["CI_COMMIT_SHA", "commit"],
  ["CI_PIPELINE_SOURCE", "trigger"],
  ["CI_PROJECT_NAME", "project"],
]);

/** What asked for a run, as it is called here. */
function triggerWord(word: string): string {
  const words: Readonly<Record<string, string>> = {
    "'merge_request_event'": "'pull_request'",
    "'web'": "'manual'",
    "'api'": "'manual'",
    "'pipeline'": "'upstream'",
  };
  return words[word] ?? word;
}

function fail(what: string): never {
  throw new Untranslatable(what);
}

import { identifier, type ReportGap } from "./draft.ts";
import { githubExpression } from "./github-expression.ts";

/** What a text of a workflow becomes, and what it needs. */
export interface TranslatedText {
  readonly text: string;
  /** Names of secrets in it, as the other system has them. */
  readonly secrets: readonly string[];
}

/** What expressions in a text may speak of beside what is always known. */
export interface TextScope {
  /** Values of variables that are known, for values that speak of them. */
  readonly env: ReadonlyMap<string, string>;
  /** Whether a shell reads the text: then it has variables and secrets by `$NAME`. */
  readonly script: boolean;
  readonly report: ReportGap;
}

/** Translates the expressions in a text. One that cannot be said here is left out, and reported. */
export function translateText(text: string, line: number, { env, script, report }: TextScope): TranslatedText {
  const secrets: string[] = [];
  const translated = text.replaceAll(/\$\{\{([\s\S]*?)\}\}/g, (_whole, inner: string) => {
    const name = inner.trim();
    const secret = /^secrets\.([A-Za-z_]\w*)$/.exec(name)?.[1];
    if (secret !== undefined) {
      secrets.push(secret);
      return `$${secret}`;
    }
    const variable = /^env\.([A-Za-z_]\w*)$/.exec(name)?.[1];
    if (variable !== undefined && script) return `$${variable}`;
    if (variable !== undefined && env.has(variable)) return env.get(variable) ?? "";
    if (script && (name === "github.workspace" || name === "runner.temp"))
      return name === "runner.temp" ? "$TMPDIR" : "$PWD";
    const translation = githubExpression(inner);
    if ("cel" in translation && translation.cel !== "ref") return `\${{ ${translation.cel} }}`;
    report(line, `${"gap" in translation ? translation.gap : "`github.ref`"} has no counterpart and was left out`);
    return "";
  });
  return { text: translated, secrets };
}

/** How a secret of the other system is called here. */
export function secretName(foreign: string): string {
  return identifier(foreign).toLowerCase().replace(/^_+/, "");
}

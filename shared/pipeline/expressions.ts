import { type CelValue, isCelList } from "@bufbuild/cel";
import { celText, type Expression, readExpression, type Variables } from "./cel-expression.ts";
import type { IsChanged } from "./changed-paths.ts";
import { mayEmbed, type Piece, readPieces } from "./embedded.ts";
import type { ExpansionBudget } from "./expansion-budget.ts";
import { type Located, type LocatedEntry, type LocatedText, locatedText, type Place } from "./located.ts";
import type { LocatedReport } from "./located-report.ts";
import type { Reading } from "./reading.ts";

/** Evaluates the expressions of one pipeline; what is wrong with one is reported where it stands. */
export interface Expressions {
  /** Reads each text once. */
  read(text: string, at: Place): Reading<Expression>;
  /** @param what names it in problems. Undefined after a problem. */
  evaluate(text: string, what: string, at: Place, scope: Variables): CelValue | undefined;
  /**
   * The tree with the values of its expressions; one without expressions is itself. Where a shell reads a text, a value that
   * others than the author of the file may choose must be a plain word: a branch can be called `$(…)`.
   * @param isScript a shell reads all of it, not only what stands under `run` and the like.
   */
  interpolate(node: Located, scope: Variables, isScript?: boolean): Located;
  embeds(node: Located): boolean;
  /** Hints for values that rest on examples of parameters, by their places. */
  readonly doubts: ReadonlyMap<Place, string>;
}

export interface ExpressionsDeps {
  readonly report: LocatedReport;
  readonly budget: ExpansionBudget;
  readonly isChanged: IsChanged;
  /** Parameters whose values are examples, as nobody gave them one. */
  readonly examples: ReadonlySet<string>;
}

/** Keys whose text a shell reads. */
const scripts: ReadonlySet<string> = new Set(["run", "start", "exec"]);
/** What others than the author of the file may choose. */
const foreign: readonly string[] = ["params", "branch", "tag"];
const ofParams = /\bparams\.([A-Za-z_]\w*)/g;
/** What a character of an expression takes to be read, and a value to be asked for, in steps of `limits.celCostTotal`; measured. */
const stepsToRead = 800;
const stepsToBegin = 1_000;
const plainWord = /^[\w./:@%+=,~-]*$/;

export function expressions({ report, budget, isChanged, examples }: ExpressionsDeps): Expressions {
  const readings = new Map<string, Reading<Expression>>();
  const pieces = new Map<string, readonly Piece[] | undefined>();
  const embedding = new Map<Located, boolean>();
  const doubts = new Map<Place, string>();

  function read(text: string, at: Place): Reading<Expression> {
    const known = readings.get(text);
    if (known !== undefined) return known;
    budget.steps(stepsToRead * text.length, at);
    const reading = readExpression(text);
    readings.set(text, reading);
    return reading;
  }

  function evaluate(text: string, what: string, at: Place, scope: Variables): CelValue | undefined {
    const reading = read(text, at);
    if (!budget.steps(stepsToBegin + ("value" in reading ? reading.value.cost : 0), at)) return undefined;
    const result = "wrong" in reading ? reading : reading.value.evaluate(scope, isChanged);
    if ("value" in result) return result.value;
    report(at, `${what} ${result.wrong}`, doubtOf(text) ?? result.hint);
    return undefined;
  }

  function doubtOf(expression: string): string | undefined {
    const mentioned = [...expression.matchAll(ofParams)].map(([, name = ""]) => name);
    const name = mentioned.find((one) => examples.has(one));
    if (name === undefined) return undefined;
    return `it depends on parameter "${name}", which has no value here: give it one with --param ${name}=…`;
  }

  function embeds(node: Located): boolean {
    if (node.kind === "text") return mayEmbed(node.text);
    const known = embedding.get(node);
    if (known !== undefined) return known;
    const found =
      node.kind === "list"
        ? node.items.some(embeds)
        : [...node.entries].some(([key, { value }]) => mayEmbed(key) || embeds(value));
    embedding.set(node, found);
    return found;
  }

  function interpolate(node: Located, scope: Variables, isScript = false): Located {
    if (!embeds(node)) return node;
    if (node.kind === "text") return interpolateText(node, scope, isScript);
    if (node.kind === "list") return { ...node, items: node.items.map((item) => interpolate(item, scope, isScript)) };
    const entries = new Map<string, LocatedEntry>();
    for (const [key, entry] of node.entries) {
      const name = mayEmbed(key) ? written(interpolateText(locatedText(key, entry.key), scope, false)) : key;
      if (entries.has(name)) report(entry.key, `"${name}" is given twice`, "its expressions give the same for both");
      entries.set(name, { ...entry, value: interpolate(entry.value, scope, isScript || scripts.has(key)) });
    }
    return { ...node, entries };
  }

  function interpolateText(node: LocatedText, scope: Variables, isScript: boolean): Located {
    if (!pieces.has(node.text)) pieces.set(node.text, readPieces(node.text));
    const parts = pieces.get(node.text);
    if (parts === undefined) {
      report(node.at, 'a "${{" has no "}}"', 'write "$${{" where the text itself is meant');
      return locatedText("", node.at);
    }
    let text = "";
    for (const part of parts) {
      let piece = "";
      if ("text" in part) piece = part.text;
      else {
        const what = `\${{ ${part.expression} }}`;
        const value = evaluate(part.expression, what, node.at, scope);
        const doubt = doubtOf(part.expression);
        if (doubt !== undefined) doubts.set(node.at, doubt);
        if (value !== undefined && parts.length === 1 && isCelList(value)) return listOf([...value], what, node.at);
        if (value !== undefined) piece = wordOf(value, part.expression, { what, at: node.at, isScript });
      }
      if (!budget.text(piece.length, node.at)) break;
      text += piece;
    }
    return locatedText(text, node.at);
  }

  function wordOf(
    value: CelValue,
    expression: string,
    { what, at, isScript }: { readonly what: string; readonly at: Place; readonly isScript: boolean },
  ): string {
    const word = celText(value);
    if (word === undefined) report(at, `${what} is neither text nor a number nor true or false`);
    else if (isScript && !plainWord.test(word) && isForeign(expression)) {
      const hint = "hand it over in `env`, and write the variable in the script";
      report(at, `the value of ${what} has characters that a shell gives a meaning`, hint);
    } else return word;
    return "";
  }

  function listOf(values: readonly CelValue[], what: string, at: Place): Located {
    const items = values.map((value) => {
      const word = celText(value);
      if (word === undefined) report(at, `an element of ${what} is neither text nor a number nor true or false`);
      return locatedText(word ?? "", at);
    });
    return { kind: "list", items, at };
  }

  function isForeign(expression: string): boolean {
    const reading = readings.get(expression);
    return reading !== undefined && "value" in reading && foreign.some((root) => reading.value.roots.has(root));
  }

  return { read, evaluate, interpolate, embeds, doubts };
}

function written(node: Located): string {
  return node.kind === "text" ? node.text : "";
}

import { limits } from "../limits.ts";
import { type Expression, readExpression, type Variables, type VariableValue } from "./cel-expression.ts";
import type { IsChanged } from "./changed-paths.ts";
import type { ExpansionBudget } from "./expansion-budget.ts";
import type { Expressions } from "./expressions.ts";
import { type Located, memberOf, textsOf } from "./located.ts";
import type { LocatedReport } from "./located-report.ts";
import { runEnds, runVariables } from "./run-condition.ts";

/** What planning found out about the conditions of a task. */
export interface Condition extends Outcome {
  /** As it stands in the file, for a person: `params.level == 'full'`, `changes of docs/**`. */
  readonly said: readonly string[];
}

interface Outcome {
  /** Why the task does not run, in words; undefined when nothing speaks against it. */
  readonly unmet?: string;
  /** What has to be asked again when the run has come so far; see run-condition.ts. */
  readonly when?: string;
}

export interface ConditionsDeps {
  readonly expressions: Expressions;
  readonly isChanged: IsChanged;
  readonly report: LocatedReport;
  readonly budget: ExpansionBudget;
}

export interface ConditionRequest {
  /** A stage or a task, with its `when` and `changes`. */
  readonly node: Located;
  readonly scope: Variables;
  /** Of a task that runs after all others: its condition may speak of `run`. */
  readonly isFinal: boolean;
}

/** Asks `when` and `changes` of a stage or task; both must hold. */
export function conditionOf(request: ConditionRequest, deps: ConditionsDeps): Condition {
  const when = memberOf(request.node, "when");
  const changes = memberOf(request.node, "changes");
  const patterns = changes?.kind === "list" ? textsOf(changes).map(({ text }) => text) : undefined;
  const said = [
    ...(when?.kind === "text" ? [when.text] : []),
    ...(patterns === undefined ? [] : [`changes of ${patterns.join(", ")}`]),
  ];
  const outcome = whenOf(request, deps);
  if (outcome.unmet !== undefined || patterns === undefined) return { said, ...outcome };
  try {
    const isMet = deps.isChanged(patterns);
    return isMet ? { said, ...outcome } : { said, unmet: `nothing that changed matches ${patterns.join(", ")}` };
  } catch (error) {
    // What is no glob is said of its shape.
    if (error instanceof RangeError) return { said, ...outcome };
    throw error;
  }
}

function whenOf({ node, scope, isFinal }: ConditionRequest, deps: ConditionsDeps): Outcome {
  const { expressions, report } = deps;
  const when = memberOf(node, "when");
  if (when?.kind !== "text") return {};
  const { text, at } = when;
  if (text.includes("${{")) {
    report(at, '"when" is an expression as a whole', "write it without ${{ and }}");
    return {};
  }
  const reading = expressions.read(text, at);
  if ("value" in reading && reading.value.readsRun) {
    if (isFinal) return asksRun(reading.value, { when, scope }, deps);
    const hint = "move the task to `finally`, or remove it";
    report(at, '"when" speaks of "run", which is only known when the run has ended', hint);
    return {};
  }
  const value = expressions.evaluate(text, '"when"', at, scope);
  if (value === undefined) return {};
  if (typeof value !== "boolean")
    report(at, '"when" is neither true nor false', "compare it, for example branch == 'main'");
  return value === false ? { unmet: `${text} is false` } : {};
}

interface RunQuestion {
  readonly when: Extract<Located, { kind: "text" }>;
  readonly scope: Variables;
}

/** Tries every end that a run can have, and writes what is known now into the expression. */
function asksRun(
  { text, roots, callsChanged }: Expression,
  { when, scope }: RunQuestion,
  { expressions, report, budget }: ConditionsDeps,
): Outcome {
  if (callsChanged) {
    report(when.at, '"when" speaks of "run" and of what changed', "write what must have changed in `changes`");
    return {};
  }
  let bound = text;
  for (const root of roots) {
    const value = scope[root];
    // A list of one is the way to give a name to a value in CEL.
    if (value !== undefined && root !== "run")
      bound = `[${celLiteral(value, `${root}.`, text)}].all(${root}, ${bound})`;
  }
  for (const run of runEnds) {
    const value = expressions.evaluate(text, '"when"', when.at, { ...scope, run: runVariables(run) });
    if (value === undefined) return {};
    if (typeof value !== "boolean") {
      report(when.at, '"when" is neither true nor false', "compare it, for example run.status == 'failed'");
      return {};
    }
  }
  const asked = readExpression(bound, limits.celBoundChars);
  if ("wrong" in asked) {
    report(when.at, `"when" with what is known now ${asked.wrong}`, "let it speak of less, or of shorter texts");
    return {};
  }
  return budget.text(bound.length, when.at) ? { when: bound } : {};
}

/** Of a mapping, those members that the text speaks of. */
function celLiteral(value: VariableValue, prefix: string, text: string): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "number") return Number.isInteger(value) ? value.toFixed(1) : String(value);
  if (typeof value !== "object") return String(value);
  const members = [...value].filter(([name]) => text.includes(prefix + name) || text.includes("["));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}: ${celLiteral(member, "", "")}`).join(", ")}}`;
}

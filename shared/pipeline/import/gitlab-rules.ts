import { celString, type ReportGap } from "./draft.ts";
import { entriesAt, entryOf, type Foreign, listOf, textAt, textsOf, valueAt } from "./foreign-yaml.ts";
import { type GitlabScope, gitlabExpression, regexText } from "./gitlab-expression.ts";

/** Whether a job runs. */
export interface GitlabCondition {
  /** Undefined: always. */
  readonly when?: string;
  readonly allowFailure?: boolean;
}

/** What `rules`, or `only` and `except`, and `when` of a job come to. */
export function gitlabCondition(job: Foreign, scope: GitlabScope, report: ReportGap): GitlabCondition {
  const rules = entryOf(job, "rules");
  if (rules !== undefined) return fromRules(listOf(rules.value), scope, report);
  const parts: string[] = [];
  const only = entryOf(job, "only");
  const except = entryOf(job, "except");
  if (only !== undefined) parts.push(fromRefs(only.value, scope, report));
  if (except !== undefined) parts.push(`!(${fromRefs(except.value, scope, report)})`);
  const how = entryOf(job, "when");
  if (how?.value.kind === "text" && !runsByItself(how.value.text, how.line, report)) return { when: "false" };
  const said = parts.filter((part) => part !== "true" && part !== "");
  return said.length === 0
    ? {}
    : { when: said.map((part) => (said.length > 1 && part.includes("||") ? `(${part})` : part)).join(" && ") };
}

/** False for what waits for a person, or for a failure: reported, for it would otherwise run by itself. */
function runsByItself(when: string, line: number, report: ReportGap): boolean {
  if (when === "on_success" || when === "never") return true;
  if (when === "always") report(line, "`when: always`: a task that runs whatever happened stands under `finally`");
  else if (when === "manual")
    report(line, "`when: manual`: put a stage with `manual` before it; it never runs until you write `when`");
  else report(line, `\`when: ${when}\` has no counterpart; it never runs until you write \`when\``);
  return when === "always";
}

/** The first rule whose condition holds decides; where none does, the job does not run. */
function fromRules(rules: readonly Foreign[], scope: GitlabScope, report: ReportGap): GitlabCondition {
  const yes: string[] = [];
  const before: string[] = [];
  let allowFailure = false;
  for (const rule of rules) {
    const condition = ruleCondition(rule, scope, report);
    const how = textAt(rule, "when") ?? "on_success";
    if (textAt(rule, "allow_failure") === "true") allowFailure = true;
    for (const key of ["variables", "needs", "interruptible"]) {
      const entry = entryOf(rule, key);
      if (entry !== undefined) report(entry.line, `\`${key}\` of a rule has no counterpart`);
    }
    const runs = how !== "never" && runsByItself(how, rule.line, report);
    if (condition === undefined) {
      before.push("true"); // it cannot be told when this one decides: what comes after it is left out, to be safe
      break;
    }
    if (runs) yes.push(allOf([...before.map((cel) => `!(${cel})`), condition]));
    if (!runs) before.push(condition);
    if (condition === "true") break;
  }
  const when = yes.length === 0 ? "false" : yes.includes("true") ? "true" : yes.join(" || ");
  return { ...(when === "true" ? {} : { when }), ...(allowFailure ? { allowFailure } : {}) };
}

/** What all of these say together. */
function allOf(parts: readonly string[]): string {
  const said = parts.filter((cel) => cel !== "true");
  return said.length === 0 ? "true" : said.map((cel) => (said.length > 1 ? paired(cel) : cel)).join(" && ");
}

function paired(cel: string): string {
  return cel.includes(" || ") && !cel.startsWith("!(") ? `(${cel})` : cel;
}

/** Undefined where it cannot be said. */
function ruleCondition(rule: Foreign, scope: GitlabScope, report: ReportGap): string | undefined {
  const parts: string[] = [];
  const text = textAt(rule, "if");
  if (text !== undefined) {
    const translation = gitlabExpression(text, scope);
    if ("gap" in translation) {
      report(
        valueAt(rule, "if")?.line ?? rule.line,
        `\`if: ${text}\`: ${translation.gap} has no counterpart; write \`when\` for this rule and those after it`,
      );
      return undefined;
    }
    parts.push(translation.cel);
  }
  const changes = valueAt(rule, "changes");
  if (changes !== undefined) parts.push(changedCall(textsOf(valueAt(changes, "paths") ?? changes)));
  const exists = entryOf(rule, "exists");
  if (exists !== undefined) {
    report(exists.line, "`exists` has no counterpart; write `when` for this rule and those after it");
    return undefined;
  }
  return allOf(parts);
}

function changedCall(globs: readonly string[]): string {
  return `changed([${globs.map(celString).join(", ")}])`;
}

/** Of `only` and `except`: any of the refs, and all kinds of condition together. */
function fromRefs(value: Foreign, scope: GitlabScope, report: ReportGap): string {
  const refs = value.kind === "map" ? textsOf(valueAt(value, "refs")) : textsOf(value);
  const parts: string[] = [];
  if (refs.length > 0) parts.push(refs.map((ref) => refCondition(ref)).join(" || "));
  for (const [key, { value: own, line }] of entriesAt(value)) {
    if (key === "changes") parts.push(changedCall(textsOf(own)));
    else if (key === "variables") {
      const all = textsOf(own).map((text) => gitlabExpression(text, scope));
      const cels = all.flatMap((one) => ("cel" in one ? [one.cel] : []));
      if (cels.length < all.length)
        report(line, "`variables`: a condition on a variable that is not known here was left out");
      if (cels.length > 0) parts.push(cels.join(" || "));
    } else if (key !== "refs") report(line, `\`${key}\` has no counterpart`);
  }
  return allOf(parts);
}

function refCondition(ref: string): string {
  switch (ref) {
    case "branches":
      return "branch != ''";
    case "tags":
      return "tag != ''";
    case "merge_requests":
      return "trigger == 'pull_request'";
    case "pushes":
      return "trigger == 'push'";
    case "schedules":
      return "trigger == 'schedule'";
    case "web":
    case "api":
    case "triggers":
      return "trigger == 'manual'";
    default:
      return ref.startsWith("/") ? `(branch + tag).matches(${regexText(ref)})` : `branch == ${celString(ref)}`;
  }
}

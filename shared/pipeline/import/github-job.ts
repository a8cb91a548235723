import { dockerService } from "./docker-service.ts";
import { type DraftService, type DraftTask, identifier, type ReportGap } from "./draft.ts";
import { entriesAt, entryOf, type Foreign, type ForeignMap, listOf, textAt, textsOf, valueAt } from "./foreign-yaml.ts";
import { githubExpression } from "./github-expression.ts";
import { fillSteps, takeText } from "./github-steps.ts";

/** A job, and what it is a part of. */
export interface JobPlace {
  readonly id: string;
  readonly job: Foreign;
  readonly workflow: ForeignMap;
  readonly names: (foreign: string) => string;
  readonly report: ReportGap;
  /** Those that jobs before it make. */
  readonly artifacts: ReadonlySet<string>;
  readonly artifactName: (foreign: string) => string;
}

const known = new Set([
  ...["name", "runs-on", "needs", "if", "env", "timeout-minutes", "strategy", "continue-on-error", "services", "steps"],
  ...["container", "outputs", "uses", "with", "secrets", "permissions", "environment", "concurrency", "defaults"],
]);
/** What there is no word for, and what to do instead. */
const missing: Readonly<Record<string, string>> = {
  container: "`container`: tasks run in the sandbox of an agent; name what it must have under `tools` and `agents`",
  outputs: "`outputs` of a job: hand files on by `outputs` and `use`",
  permissions: "`permissions`: a task gets no token of the forge; give it one as a secret",
  environment:
    "`environment`: who must agree is a stage with `manual` before this one, where to deploy a stage with `deploy`",
  defaults: "`defaults` of a job: write the folder and the shell into the script",
};

/** The task that a job comes to. */
export function jobTask({ id, job, workflow, names, report, artifacts, artifactName }: JobPlace): DraftTask {
  const task: DraftTask = { run: "" };
  for (const [key, { line }] of entriesAt(job)) {
    if (missing[key] !== undefined) report(line, missing[key]);
    else if (!known.has(key)) report(line, `\`${key}\` of a job has no counterpart`);
  }
  const needs = textsOf(valueAt(job, "needs")).map(names);
  if (needs.length > 0) task.needs = needs;
  importRunsOn(job, task, report);
  importMatrix(job, id, task, report);
  const env = importEnv(workflow, job, task, report);
  importCondition(job, task, report);
  const minutes = textAt(job, "timeout-minutes");
  if (minutes !== undefined && /^\d+(\.\d+)?$/.test(minutes)) task.timeout = `${Math.min(Number(minutes), 1440)}m`;
  const may = entryOf(job, "continue-on-error");
  if (may?.value.kind === "text" && may.value.text === "true") task.allow_failure = true;
  else if (may?.value.kind === "text" && may.value.text !== "false")
    report(may.line, "`continue-on-error` by an expression: it is `true` or `false`");
  const group = entryOf(job, "concurrency");
  if (group !== undefined) report(group.line, "`concurrency` of a job: name its group under `concurrency` of the task");
  importServices(job, task, report);
  const uses = entryOf(job, "uses");
  if (uses !== undefined) {
    report(uses.line, "a reusable workflow: make it a template, or a file that is included");
    task.run = `echo 'this task was not translated' >&2\nexit 1\n`;
  } else fillSteps(job, env, { task, report, artifacts, artifactName });
  return task;
}

function importRunsOn(job: Foreign, task: DraftTask, report: ReportGap): void {
  const entry = entryOf(job, "runs-on");
  for (const label of textsOf(entry?.value)) {
    const line = entry?.line ?? job.line;
    if (/^ubuntu|^linux$/i.test(label)) task.agents = { ...task.agents, os: "linux" };
    else if (/^(macos|windows)/.test(label)) {
      report(line, `\`runs-on: ${label}\`: agents are Linux machines; the task needs one with this label`);
      task.agents = { ...task.agents, os: label.startsWith("macos") ? "macos" : "windows" };
    } else if (label !== "self-hosted")
      report(line, `\`runs-on: ${label}\`: name the labels of its agents under \`agents\``);
  }
}

function importMatrix(job: Foreign, id: string, task: DraftTask, report: ReportGap): void {
  const strategy = valueAt(job, "strategy");
  const matrix = entryOf(strategy, "matrix");
  const atOnce = textAt(strategy, "max-parallel");
  if (atOnce !== undefined && /^[1-9]\d*$/.test(atOnce))
    task.concurrency = { group: `${identifier(id)}-matrix`, limit: Number(atOnce) };
  if (textAt(strategy, "fail-fast") === "true")
    report(entryOf(strategy, "fail-fast")?.line ?? job.line, "`fail-fast`: the other tasks of a matrix go on");
  if (matrix === undefined) return;
  if (matrix.value.kind !== "map")
    return report(matrix.line, "a matrix from an expression: a task that `generates` others does that");
  const written: Record<string, unknown> = {};
  for (const [key, { value, line }] of entriesAt(matrix.value)) {
    const list = listOf(value);
    if (key === "include" || key === "exclude") written[key] = list.flatMap((item) => combination(item, report));
    else if (list.length > 0 && list.every((item) => item.kind === "text")) written[identifier(key)] = textsOf(value);
    else report(line, `\`${key}\`: values of a matrix are texts and numbers`);
  }
  task.matrix = written;
}

function combination(item: Foreign, report: ReportGap): Record<string, string>[] {
  const values: Record<string, string> = {};
  for (const [key, { value, line }] of entriesAt(item)) {
    if (value.kind === "text") values[identifier(key)] = value.text;
    else report(line, `\`${key}\`: values of a matrix are texts and numbers`);
  }
  return Object.keys(values).length > 0 ? [values] : [];
}

/** The variables of the workflow and of the job: values that the job knows, for expressions that speak of them. */
function importEnv(
  workflow: ForeignMap,
  job: Foreign,
  task: DraftTask,
  report: ReportGap,
): ReadonlyMap<string, string> {
  const env = new Map<string, string>();
  for (const [key, { value, line }] of [...entriesAt(valueAt(workflow, "env")), ...entriesAt(valueAt(job, "env"))]) {
    if (value.kind !== "text") continue;
    const alone = /^\$\{\{\s*secrets\.([A-Za-z_]\w*)\s*\}\}$/.exec(value.text.trim())?.[1];
    if (alone !== undefined) {
      task.secrets = { ...task.secrets, [key]: alone.toLowerCase().replace(/^_+/, "") };
      continue;
    }
    if (/secrets\./.test(value.text))
      report(line, `\`${key}\` holds a secret within a text: put it together in the script`);
    const text = takeText(task, value.text, line, { env, script: false, report });
    env.set(key, text);
    if (!/secrets\./.test(value.text)) task.env = { ...task.env, [key]: text };
  }
  return env;
}

function importCondition(job: Foreign, task: DraftTask, report: ReportGap): void {
  const entry = entryOf(job, "if");
  if (entry?.value.kind !== "text") return;
  const text = entry.value.text.replace(/^\s*\$\{\{([\s\S]*)\}\}\s*$/, "$1");
  const translation = githubExpression(text);
  if ("cel" in translation) {
    if (translation.cel !== "true") task.when = translation.cel;
    return;
  }
  const ends = /\b(always|failure|cancelled)\(\)/.test(text);
  report(
    entry.line,
    `\`if: ${text.trim()}\`: ${ends ? "a task that runs whatever happened stands under `finally`" : `${translation.gap} has no counterpart`}; it never runs until you write \`when\``,
  );
  task.when = "false";
}

function importServices(job: Foreign, task: DraftTask, report: ReportGap): void {
  const services: Record<string, DraftService> = {};
  for (const [name, { value, line }] of entriesAt(valueAt(job, "services"))) {
    const image = textAt(value, "image") ?? (value.kind === "text" ? value.text : "");
    const variables = entriesAt(valueAt(value, "env")).flatMap(([key, { value: text }]) =>
      text.kind === "text" ? [[key, text.text] as const] : [],
    );
    if (entryOf(value, "options") !== undefined)
      report(line, `\`options\` of the service ${name}: write them into its script`);
    services[identifier(name).toLowerCase()] = dockerService({
      image,
      variables,
      ports: textsOf(valueAt(value, "ports")),
    });
    report(line, `the service ${name} needs docker on the agent; a program of the agent's does without`);
  }
  if (Object.keys(services).length > 0) task.services = services;
}

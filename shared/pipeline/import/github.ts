import { type Draft, draftNames, identifier, type ReportGap } from "./draft.ts";
import { entriesAt, entryOf, type Foreign, type ForeignMap, listOf, textAt, textsOf, valueAt } from "./foreign-yaml.ts";
import { githubExpression } from "./github-expression.ts";
import { jobTask } from "./github-job.ts";

/** Keys of a workflow that are looked at. */
const known = new Set(["name", "on", "env", "defaults", "concurrency", "jobs", "permissions", "run-name", "true"]);

/** A GitHub Actions workflow as a pipeline: each job a task of one stage, so that they wait for one another as they did. */
export function importGithub(workflow: ForeignMap, fallbackName: string, report: ReportGap): Draft {
  for (const [key, { line }] of workflow.entries) if (!known.has(key)) report(line, `\`${key}\` has no counterpart`);
  const names = draftNames();
  const draft: Draft = { name: draftNames()(textAt(workflow, "name") ?? fallbackName), stages: new Map() };
  importTriggers(workflow, draft, report);
  const permissions = entryOf(workflow, "permissions");
  if (permissions !== undefined)
    report(permissions.line, "`permissions`: a task gets no token of the forge; give it one as a secret");
  const runName = entryOf(workflow, "run-name");
  if (runName !== undefined) report(runName.line, "`run-name`: runs are numbered");
  const group = workflowConcurrency(workflow, draft.name, report);
  if (group !== undefined) draft.concurrency = group;
  const jobs = entriesAt(valueAt(workflow, "jobs"));
  const tasks = new Map<string, ReturnType<typeof jobTask>>();
  const artifacts = new Set<string>();
  const artifactName = draftNames2();
  for (const [id, { value }] of inOrder(jobs)) {
    const task = jobTask({ id, job: value, workflow, names, report, artifacts, artifactName });
    for (const name of Object.keys(task.outputs ?? {})) artifacts.add(name);
    tasks.set(names(id), task);
  }
  const ordered = jobs.map(([id]) => [names(id), tasks.get(names(id))] as const);
  draft.stages.set("jobs", {
    tasks: new Map(ordered.flatMap(([name, task]) => (task === undefined ? [] : [[name, task] as const]))),
  });
  return draft;
}

/** Names of artifacts: an expression in one stays. */
function draftNames2(): (foreign: string) => string {
  return (foreign) =>
    foreign
      .split(/(\$\{\{.*?\}\})/)
      .map((part) => (part.startsWith("${{") ? part : part.toLowerCase().replace(/[^a-z0-9_-]+/g, "-")))
      .join("")
      .replace(/^[-_]+/, "");
}

/** What a job needs comes before it, so that it is known which artifacts there are. */
function inOrder<T extends { readonly value: Foreign }>(
  jobs: readonly (readonly [string, T])[],
): (readonly [string, T])[] {
  const done = new Set<string>();
  const ordered: (readonly [string, T])[] = [];
  let left = [...jobs];
  while (left.length > 0) {
    const ready = left.filter(([, { value }]) => textsOf(valueAt(value, "needs")).every((need) => done.has(need)));
    const next = ready.length > 0 ? ready : left; // needs that lead in a circle are shown by `validate`
    for (const job of next) done.add(job[0]);
    ordered.push(...next);
    left = left.filter((job) => !next.includes(job));
  }
  return ordered;
}

function importTriggers(workflow: ForeignMap, draft: Draft, report: ReportGap): void {
  const on = valueAt(workflow, "on");
  const events =
    on?.kind === "map"
      ? entriesAt(on)
      : textsOf(on).map((name) => [name, { value: undefined, line: on?.line ?? 1 }] as const);
  const triggers: Record<string, unknown> = {};
  for (const [event, { value, line }] of events) {
    if (event === "push" || event === "pull_request") triggers[event] = refFilters(value, event, report);
    else if (event === "schedule") triggers["schedule"] = listOf(value).flatMap((item) => textAt(item, "cron") ?? []);
    else if (event === "workflow_dispatch") draft.params = importInputs(valueAt(value, "inputs"));
    else report(line, `\`on: ${event}\` has no counterpart`);
  }
  if (Object.keys(triggers).length > 0) draft.on = triggers;
}

function refFilters(value: Foreign | undefined, event: string, report: ReportGap): Record<string, unknown> {
  const filters: Record<string, unknown> = {};
  for (const [key, { value: list, line }] of entriesAt(value)) {
    if (key === "branches" || key === "tags" || key === "paths") filters[key] = textsOf(list);
    else if (key === "paths-ignore") filters["paths"] = textsOf(list).map((path) => `!${path}`);
    else report(line, `\`${key}\` of \`on: ${event}\` has no counterpart`);
  }
  return filters;
}

function importInputs(inputs: Foreign | undefined): Record<string, Record<string, unknown>> {
  return Object.fromEntries(
    entriesAt(inputs).map(([name, { value }]) => {
      const type = textAt(value, "type") ?? "string";
      const fallback =
        textAt(value, "default") ??
        (textAt(value, "required") === "true"
          ? undefined
          : type === "boolean"
            ? "false"
            : type === "string"
              ? ""
              : undefined);
      const title = textAt(value, "description");
      const options = textsOf(valueAt(value, "options"));
      const param = {
        ...(["boolean", "number", "choice"].includes(type) ? { type } : {}),
        ...(options.length === 0 ? {} : { options }),
        ...(fallback === undefined ? {} : { default: fallback }),
        ...(title === undefined ? {} : { title }),
      };
      return [identifier(name), param];
    }),
  );
}

function workflowConcurrency(workflow: ForeignMap, name: string, report: ReportGap): Draft["concurrency"] {
  const entry = entryOf(workflow, "concurrency");
  if (entry === undefined) return undefined;
  const { value, line } = entry;
  const text = value.kind === "text" ? value.text : textAt(value, "group");
  const group = concurrencyName(text ?? "", name, (what) => report(line, what));
  const cancels = textAt(value, "cancel-in-progress");
  if (cancels === "true") return { group, policy: "cancel-superseded" };
  if (cancels !== undefined && cancels !== "false")
    report(line, `\`cancel-in-progress: ${cancels}\`: the policy is the same for all`);
  return group;
}

/** The name of a group; the workflow's own name is known, and so is what an expression can say. */
function concurrencyName(text: string, workflow: string, gap: (what: string) => void): string {
  const group = text
    .replaceAll(/\$\{\{([\s\S]*?)\}\}/g, (_whole, inner: string) => {
      if (inner.trim() === "github.workflow") return workflow;
      if (/^github\.(ref|head_ref)\b/.test(inner.trim())) return "${{ branch }}";
      const translation = githubExpression(inner);
      if ("cel" in translation) return `\${{ ${translation.cel} }}`;
      gap(`${translation.gap} in the name of a group has no counterpart and was left out`);
      return "";
    })
    .replace(/[^A-Za-z0-9._/${} -]+/g, "-")
    .replace(/^[^A-Za-z0-9$]+/, "");
  // What an expression comes to may be empty (no branch is known), and a name has at least one character.
  return group.startsWith("${{") ? `${workflow}-${group}` : group;
}

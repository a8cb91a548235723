import { dockerService } from "./docker-service.ts";
import { type Draft, type DraftTask, identifier, type ReportGap, scriptFor } from "./draft.ts";
import { entriesAt, entryOf, type Foreign, type ForeignMap, listOf, textAt, textsOf, valueAt } from "./foreign-yaml.ts";
import { cacheName, isPlainPath } from "./github-actions.ts";
import { type GitlabJob, scriptLines } from "./gitlab-jobs.ts";

const known = new Set([
  ...[
    "stage",
    "script",
    "before_script",
    "after_script",
    "variables",
    "needs",
    "dependencies",
    "rules",
    "only",
    "except",
  ],
  ...["when", "allow_failure", "retry", "timeout", "parallel", "artifacts", "cache", "services", "resource_group"],
  ...["inherit", "interruptible", "image", "tags", "environment", "coverage", "trigger", "release"],
]);
/** What there is no word for, and what to do instead. */
const missing: Readonly<Record<string, string>> = {
  image: "`image`: tasks run in the sandbox of an agent; name what it must have under `tools` and `agents`",
  tags: "`tags`: name the labels of its agents under `agents`, each with a value",
  environment:
    "`environment`: who must agree is a stage with `manual` before this one, where to deploy a stage with `deploy`",
  coverage: "`coverage` has no counterpart",
  trigger: "`trigger`: start the other pipeline by the API",
  release: "`release` has no counterpart",
};

/** What a job makes, where, and what of the job's script says about variables. */
export function gitlabTask({ name, job }: GitlabJob, file: ForeignMap, report: ReportGap): DraftTask {
  for (const [key, { line }] of job.entries) {
    if (missing[key] !== undefined) report(line, missing[key]);
    else if (!known.has(key)) report(line, `\`${key}\` of a job has no counterpart`);
  }
  const task: DraftTask = { run: "" };
  const env = Object.fromEntries(
    entriesAt(valueAt(job, "variables")).flatMap(([key, { value }]) => {
      const text = value.kind === "text" ? value.text : textAt(value, "value");
      return text === undefined ? [] : [[key, text] as const];
    }),
  );
  if (Object.keys(env).length > 0) task.env = env;
  importScript(job, file, task, report);
  importParallel(job, task, report);
  importOutputs(name, job, task, report);
  importCaches(job, task, report);
  importServices(job, task, report);
  importRetry(job, task, report);
  const timeout = entryOf(job, "timeout");
  const written = timeout?.value.kind === "text" ? duration(timeout.value.text) : undefined;
  if (written !== undefined) task.timeout = written;
  else if (timeout !== undefined) report(timeout.line, "`timeout`: write for example 10m");
  const group = textAt(job, "resource_group");
  if (group !== undefined) task.concurrency = group.replace(/[^A-Za-z0-9._/-]+/g, "-");
  const may = entryOf(job, "allow_failure");
  if (may?.value.kind === "text") task.allow_failure = may.value.text === "true";
  else if (may !== undefined)
    report(may.line, "`allow_failure` by exit code: it is `true` or `false`; `retry` knows exit codes");
  if (task.allow_failure === false) delete task.allow_failure;
  return task;
}

function importScript(job: ForeignMap, file: ForeignMap, task: DraftTask, report: ReportGap): void {
  const lines = (key: string) => scriptLines(valueAt(job, key), file, report);
  const script = lines("script");
  if (script.length === 0) {
    report(job.line, "a job without a script: its task fails until it is written");
    task.run = "echo 'this task was not translated' >&2\nexit 1\n";
    return;
  }
  const after = lines("after_script");
  const trap = after.length === 0 ? [] : ["after_script() {", ...after, "}", "trap 'set +e; after_script' EXIT"];
  const all = [...trap, ...lines("before_script"), ...script];
  task.run = scriptFor([...predefined(all.join("\n"), job, task, report), ...all].join("\n"));
}

/** Variables that GitLab gives and the script reads: from what the run knows; others are reported. */
function predefined(script: string, job: ForeignMap, task: DraftTask, report: ReportGap): string[] {
  const read = new Set(
    [...script.matchAll(/\$\{?(CI(?:_[A-Z0-9]+)*|GITLAB_[A-Z0-9_]+)\b/g)].map(([, name = ""]) => name),
  );
  const lines: string[] = [];
  for (const name of read) {
    const expression = runValues.get(name);
    const line = shellValues.get(name);
    if (name === "CI") continue;
    if (expression !== undefined) task.env = { ...task.env, [name]: `\${{ ${expression} }}` };
    else if (line !== undefined) lines.push(`export ${name}=${line}`);
    else if (task.env?.[name] === undefined)
      report(valueAt(job, "script")?.line ?? job.line, `$${name} is not there: say in \`env\` what it is`);
  }
  return lines;
}

const runValues: ReadonlyMap<string, string> = new Map([
  ["CI_COMMIT_SHA", "commit"],
  ["CI_COMMIT_BRANCH", "branch"],
  ["CI_COMMIT_REF_NAME", "branch"],
  ["CI_COMMIT_TAG", "tag"],
  ["CI_PIPELINE_SOURCE", "trigger"],
  ["CI_PROJECT_NAME", "project"],
]);
const shellValues: ReadonlyMap<string, string> = new Map([
  ["CI_PROJECT_DIR", '"$PWD"'],
  ["CI_JOB_NAME", '"$MILLRACE_TASK"'],
  ["CI_JOB_STAGE", '"$MILLRACE_STAGE"'],
  ["CI_PIPELINE_ID", '"$MILLRACE_RUN"'],
  ["CI_NODE_INDEX", '"$MILLRACE_SHARD_INDEX"'],
  ["CI_NODE_TOTAL", '"$MILLRACE_SHARD_COUNT"'],
]);

function importParallel(job: ForeignMap, task: DraftTask, report: ReportGap): void {
  const parallel = entryOf(job, "parallel");
  if (parallel === undefined) return;
  const { value, line } = parallel;
  if (value.kind === "text") {
    if (/^[1-9]\d*$/.test(value.text)) task.shards = Number(value.text);
    else report(line, `\`parallel: ${value.text}\` is no number`);
    return;
  }
  const groups = listOf(valueAt(value, "matrix")).map((group) =>
    entriesAt(group).map(([key, entry]) => [key, textsOf(entry.value)] as const),
  );
  const names = new Set(groups.flatMap((group) => group.map(([key]) => key)));
  const [only] = groups;
  if (only === undefined) return report(line, "`parallel` has no `matrix`");
  task.matrix =
    groups.length === 1
      ? Object.fromEntries(only.map(([key, values]) => [identifier(key), values]))
      : { include: groups.flatMap(combinations) };
  // What each group has: a variable that only some have has no value in the others.
  for (const key of names) {
    if (!groups.every((group) => group.some(([own]) => own === key)))
      report(line, `$${key} is in some groups of the matrix alone: give it a value in all`);
    else task.env = { ...task.env, [key]: `\${{ matrix.${identifier(key)} }}` };
  }
}

function combinations(group: readonly (readonly [string, readonly string[]])[]): Record<string, string>[] {
  return group.reduce<Record<string, string>[]>(
    (all, [key, values]) => all.flatMap((one) => values.map((value) => ({ ...one, [identifier(key)]: value }))),
    [{}],
  );
}

function importOutputs(name: string, job: ForeignMap, task: DraftTask, report: ReportGap): void {
  const artifacts = valueAt(job, "artifacts");
  if (artifacts === undefined) return;
  for (const [key, { line }] of entriesAt(artifacts)) {
    if (key === "reports") report(line, "`reports` has no counterpart yet: name the files under `outputs`");
    else if (key === "exclude" || key === "untracked") report(line, `\`${key}\` of artifacts has no counterpart`);
    else if (key === "when" && textAt(artifacts, "when") !== "on_success")
      report(line, "artifacts of a task that failed are not kept");
  }
  const outputs: Record<string, string> = {};
  for (const item of listOf(valueAt(artifacts, "paths"))) {
    const path = item.kind === "text" ? item.text.trim().replace(/^\.\//, "").replace(/\/$/, "") : "";
    const place = `${identifier(name).toLowerCase().replace(/^_+/, "")}${Object.keys(outputs).length === 0 ? "" : `-${Object.keys(outputs).length + 1}`}`;
    if (!isPlainPath(path))
      report(item.line, `the artifact \`${path}\`: an output is one file or folder; put them into one`);
    else if (task.matrix !== undefined || task.shards !== undefined)
      report(
        item.line,
        `the artifact \`${path}\`: each task of a matrix must name its own, with \`\${{ matrix.… }}\` in the name`,
      );
    else outputs[place] = path;
  }
  if (Object.keys(outputs).length > 0) task.outputs = outputs;
}

function importCaches(job: ForeignMap, task: DraftTask, report: ReportGap): void {
  for (const cache of listOf(valueAt(job, "cache"))) {
    for (const item of listOf(valueAt(cache, "paths"))) {
      const path =
        item.kind === "text"
          ? item.text
              .trim()
              .replace(/^\.\//, "")
              .replace(/\/\**$/, "")
          : "";
      if (!isPlainPath(path))
        report(item.line, `the cache of \`${path}\`: a named cache is a folder in the working directory`);
      else if (!Object.values(task.outputs ?? {}).includes(path))
        task.caches = { ...task.caches, [cacheName(path)]: path };
    }
  }
}

function importServices(job: ForeignMap, task: DraftTask, report: ReportGap): void {
  for (const service of listOf(valueAt(job, "services"))) {
    const image = service.kind === "text" ? service.text : (textAt(service, "name") ?? "");
    const alias = textAt(service, "alias") ?? image.split("/").at(-1)?.split(/[:@]/)[0] ?? "service";
    const variables = Object.entries(task.env ?? {}).filter(([key]) =>
      /^(POSTGRES|MYSQL|MARIADB|REDIS|MONGO|RABBITMQ)_/.test(key),
    );
    const port = [...usualPorts].find(([part]) => image.includes(part))?.[1];
    const name = identifier(alias).toLowerCase();
    task.services = {
      ...task.services,
      [name]: dockerService({ image, variables, ports: port === undefined ? [] : [port] }),
    };
    report(service.line, `the service ${name} needs docker on the agent, and answers at 127.0.0.1 and not at its name`);
  }
}

const usualPorts: ReadonlyMap<string, string> = new Map([
  ["postgres", "5432"],
  ["mysql", "3306"],
  ["mariadb", "3306"],
  ["redis", "6379"],
  ["mongo", "27017"],
  ["rabbitmq", "5672"],
]);

function importRetry(job: ForeignMap, task: DraftTask, report: ReportGap): void {
  const entry = entryOf(job, "retry");
  if (entry === undefined) return;
  const max = Number(entry.value.kind === "text" ? entry.value.text : (textAt(entry.value, "max") ?? "0"));
  const causes = textsOf(valueAt(entry.value, "when"));
  const codes = textsOf(valueAt(entry.value, "exit_codes")).map((code) => `exit ${code}`);
  if (!Number.isInteger(max) || max === 0) return;
  const on = causes.flatMap((cause) => retryCauses.get(cause) ?? []);
  for (const cause of causes.filter((word) => !retryCauses.has(word)))
    report(entry.line, `\`retry: ${cause}\` has no counterpart`);
  const infrastructure = causes.some((cause) => retryCauses.get(cause)?.length === 0);
  if (on.length + codes.length === 0 && !infrastructure) task.retry = max;
  else if (on.length + codes.length === 0) task.retry = { times: 0, infrastructure: max };
  else
    task.retry = {
      times: max,
      ...(on.includes("any") && codes.length === 0 ? {} : { on: [...new Set([...on, ...codes])] }),
      ...(infrastructure ? { infrastructure: max } : {}),
    };
}

/** Those that are failures of the farm have a budget of their own. */
const retryCauses: ReadonlyMap<string, readonly string[]> = new Map([
  ["always", ["any"]],
  ["script_failure", ["any"]],
  ["job_execution_timeout", ["timeout"]],
  ["runner_system_failure", []],
  ["stuck_or_timeout_failure", []],
  ["scheduler_failure", []],
  ["api_failure", []],
]);

const units: Readonly<Record<string, string>> = { s: "s", m: "m", h: "h", d: "d" };

/** `1h 30m`, `2 hours`, `90 minutes` as the language has it. */
function duration(text: string): string | undefined {
  const parts = [...text.matchAll(/(\d+)\s*(d|h|m|s)[a-z]*/gi)].map(
    ([, amount, unit = ""]) => `${amount}${units[unit.toLowerCase()]}`,
  );
  return parts.length === 0 ? undefined : parts.join("");
}

/** `variables` at the top: fixed ones for all tasks, and those that whoever starts a run may choose. */
export function globalVariables(file: ForeignMap, draft: Draft): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  const env: Record<string, string> = {};
  for (const [key, { value }] of entriesAt(valueAt(file, "variables"))) {
    const text = value.kind === "text" ? value.text : textAt(value, "value");
    const title = textAt(value, "description");
    const options = textsOf(valueAt(value, "options"));
    if (title === undefined && options.length === 0) {
      if (text === undefined) continue;
      values.set(key, text);
      env[key] = text;
      continue;
    }
    const param = {
      ...(options.length === 0 ? {} : { type: "choice", options }),
      ...(text === undefined ? {} : { default: text }),
      ...(title === undefined ? {} : { title }),
    };
    draft.params = { ...draft.params, [identifier(key)]: param };
    env[key] = `\${{ params.${identifier(key)} }}`;
  }
  if (Object.keys(env).length > 0) draft.defaults = { env };
  return values;
}

/** Names of the jobs that a job waits for by `needs`; undefined without. */
export function neededJobs(job: Foreign, report: ReportGap): { name: string; artifacts: boolean }[] | undefined {
  const needs = entryOf(job, "needs");
  if (needs === undefined) return undefined;
  return listOf(needs.value).flatMap((item) => {
    const name = item.kind === "text" ? item.text : textAt(item, "job");
    const elsewhere = entryOf(item, "pipeline") ?? entryOf(item, "project");
    if (elsewhere !== undefined || name === undefined) {
      report(item.line, "`needs` of another pipeline has no counterpart");
      return [];
    }
    return [{ name, artifacts: textAt(item, "artifacts") !== "false" }];
  });
}

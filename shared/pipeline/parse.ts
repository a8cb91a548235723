import { limits } from "../limits.ts";
import type { Concurrency, Pipeline, Problem, Retry, Stage, Task } from "./pipeline.ts";
import { type Artifacts, checkReferences } from "./references.ts";
import {
  type ConcurrencyShape,
  type DeployShape,
  type ManualShape,
  type PipelineShape,
  pipelineShape,
  type RetryShape,
  type TaskShape,
} from "./schema.ts";
import { type PathProblem, shapeProblems } from "./shape-problems.ts";
import { readYaml, type YamlPath, type YamlSource } from "./yaml-source.ts";

/** A pipeline, or everything that is wrong with the file: never both, and never neither. */
export type ParseResult =
  | { readonly pipeline: Pipeline; readonly problems: readonly [] }
  | { readonly pipeline?: undefined; readonly problems: readonly Problem[] };

/**
 * Reads a pipeline file. All problems come at once, in file order, at most `limits.pipelineProblems` of them; only a file
 * that is not YAML at all shows nothing but that.
 * @param file names the file in problems; it is not read.
 */
export function parsePipeline(text: string, file: string): ParseResult {
  if (Buffer.byteLength(text) > limits.pipelineFileBytes) {
    const message = `the file is larger than ${limits.pipelineFileBytes} bytes`;
    return { problems: [{ file, line: 1, column: 1, message, hint: "split it into several pipelines" }] };
  }
  const { source, problems: yamlProblems } = readYaml(text);
  if (source === undefined) return { problems: arranged(yamlProblems.map((problem) => ({ file, ...problem }))) };

  const shape = pipelineShape.safeParse(source.value, { reportInput: true });
  const sizes = sizeProblems(source);
  const { artifacts, problems: unresolved } =
    sizes.length === 0 ? checkReferences(source) : { artifacts: new Map(), problems: [] };
  const placed = [...shapeProblems(shape.error?.issues ?? []), ...sizes, ...unresolved].map(
    ({ path, part, message, hint }): Problem => ({
      file,
      ...source.position(path, part),
      message,
      ...(hint === undefined ? {} : { hint }),
    }),
  );
  const problems = arranged([...yamlProblems.map((problem) => ({ file, ...problem })), ...placed]);
  if (problems.length > 0 || !shape.success) return { problems };
  return { pipeline: build(shape.data, source, artifacts, file), problems: [] };
}

/** In file order, without what an alias repeats, and no more than a person reads. */
function arranged(problems: readonly Problem[]): readonly Problem[] {
  const distinct = new Map(
    problems.map((problem) => [`${problem.line}:${problem.column}:${problem.message}`, problem]),
  );
  const sorted = [...distinct.values()].sort((a, b) => a.line - b.line || a.column - b.column);
  return sorted.slice(0, limits.pipelineProblems);
}

/** Checks that are not linear come after this one. */
function sizeProblems(source: YamlSource): PathProblem[] {
  const path: YamlPath = ["stages"];
  const stages = source.keys(path);
  if (stages.length > limits.runStages) {
    return [{ path, part: "key", message: `${stages.length} stages; at most ${limits.runStages} are possible` }];
  }
  const tasks = stages.reduce((sum, stage) => sum + source.keys([...path, stage, "tasks"]).length, 0);
  if (tasks > limits.runTasks) {
    return [{ path, part: "key", message: `${tasks} tasks; at most ${limits.runTasks} are possible` }];
  }
  return [];
}

function build(shape: PipelineShape, source: YamlSource, artifacts: Artifacts, file: string): Pipeline {
  const stages = source.keys(["stages"]).map((name): Stage => {
    const stage = shape.stages[name];
    const path = ["stages", name, "tasks"];
    const tasks = source.keys(path).flatMap((taskName): Task[] => {
      const task = stage?.tasks?.[taskName];
      if (task === undefined) return [];
      const place = { stage: name, name: taskName, path: [...path, taskName] };
      return [buildTask(task, place, shape.defaults ?? {}, source, artifacts)];
    });
    if (stage?.deploy !== undefined)
      tasks.push(buildDeploy(stage.deploy, name, shape.defaults ?? {}, source, artifacts));
    const manual = stage?.manual;
    const gates = manual === undefined ? [] : [buildGate(manual, name, source)];
    return { name, needs: unique(stage?.needs ?? []), tasks: [...tasks, ...gates] };
  });
  return { name: shape.name, file, ...buildConcurrency(shape.concurrency), stages };
}

/** The name of the one task of a manual stage. */
const gateTask = "approval";

function buildGate(manual: ManualShape, stage: string, source: YamlSource): Task {
  const { title, checklist = [], approvers = [], timeout = limits.gateTimeoutMs, on_timeout = "reject" } = manual;
  const fields = source.keys(["stages", stage, "manual", "fields"]).map((field) => {
    const { title = field, type = "text", options = [], required = false } = manual.fields?.[field] ?? {};
    return { name: field, title, type, options, required };
  });
  return {
    ...{ stage, name: gateTask, position: source.position(["stages", stage, "manual"], "key") },
    ...{
      needs: [],
      run: "",
      inputs: [],
      outputs: [],
      use: [],
      env: {},
      agents: {},
      tools: [],
      caches: [],
      cache: false,
      idempotent: true,
      priority: 0,
      allowFailure: false,
      secrets: [],
    },
    timeoutMs: timeout,
    gate: {
      ...{ title, checklist, approvers: unique(approvers), fields },
      approvals: manual.approvals ?? 1,
      authorMayApprove: manual.author_may_approve ?? manual.approvals === undefined,
      evidenceRequired: manual.evidence ?? false,
      ...{ timeoutMs: timeout, onTimeout: on_timeout },
    },
  };
}

function buildTask(
  task: TaskShape,
  { stage, name, path }: { stage: string; name: string; path: YamlPath },
  defaults: NonNullable<PipelineShape["defaults"]>,
  source: YamlSource,
  artifacts: Artifacts,
): Task {
  const outputs = source.keys([...path, "outputs"]);
  return {
    stage,
    name,
    position: source.position(path, "key"),
    needs: unique(task.needs ?? []).map((need) => `${stage}/${need}`),
    run: task.run,
    inputs: task.inputs?.map((pattern, index) => ({
      pattern,
      position: source.position([...path, "inputs", index], "value"),
    })),
    outputs: outputs.map((artifact) => ({ artifact, path: task.outputs?.[artifact] ?? artifact })),
    use: (task.use ?? []).map(({ artifact, path: landing = artifact }) => ({
      artifact,
      task: (artifacts.get(artifact) ?? []).join("/"),
      path: landing,
    })),
    env: sortedRecord({ ...defaults.env, ...task.env }),
    timeoutMs: task.timeout ?? defaults.timeout ?? limits.taskTimeoutMs,
    agents: sortedRecord({ ...defaults.agents, ...task.agents }),
    tools: Object.entries(sortedRecord({ ...defaults.tools, ...task.tools })).map(([tool, version]) => ({
      name: tool,
      version,
      position:
        task.tools?.[tool] === undefined
          ? source.position(path, "key")
          : source.position([...path, "tools", tool], "key"),
    })),
    caches: Object.entries(sortedRecord({ ...defaults.caches, ...task.caches })).map(([cache, place]) => ({
      name: cache,
      path: place,
      position:
        task.caches?.[cache] === undefined
          ? source.position(path, "key")
          : source.position([...path, "caches", cache], "key"),
    })),
    cache: task.cache ?? task.idempotent ?? true,
    idempotent: task.idempotent ?? true,
    priority: task.priority ?? 0,
    ...buildRetry(task.retry ?? defaults.retry),
    ...buildConcurrency(task.concurrency),
    allowFailure: task.allow_failure ?? false,
    secrets: Object.entries(task.secrets ?? {})
      .map(([env, { secret, file = false }]) => {
        return { secret, env, file, position: source.position([...path, "secrets", env], "key") };
      })
      .sort((a, b) => (a.env < b.env ? -1 : 1)),
    ...(task.generates === true ? { generates: generatedTasksPath } : {}),
  };
}

/** Where a task writes the tasks that it adds to its stage. */
const generatedTasksPath = ".millrace-generated.yaml";

function buildRetry(shape: RetryShape | undefined): { retry?: Retry } {
  if (shape === undefined) return {};
  const { times = 0, on = [], delay = limits.retryDelayMs, infrastructure } = shape;
  return { retry: { times, on, delayMs: delay, infrastructure } };
}

function buildConcurrency(shape: ConcurrencyShape | undefined): { concurrency?: Concurrency } {
  if (shape === undefined) return {};
  const { group, limit = 1, policy = "queue" } = shape;
  return { concurrency: { group, limit, policy } };
}

/** A stage that deploys is one task, `<stage>/deploy`, that reads nothing of the source. */
function buildDeploy(
  deploy: DeployShape,
  stage: string,
  defaults: NonNullable<PipelineShape["defaults"]>,
  source: YamlSource,
  artifacts: Artifacts,
): Task {
  const { environment, use, start, env, probe } = deploy;
  const place = { stage, name: "deploy", path: ["stages", stage, "deploy"] };
  const task = { run: start, inputs: [], use: use.map((artifact) => ({ artifact })), cache: false };
  const [app] = use;
  return {
    ...buildTask(task, place, defaults.agents === undefined ? {} : { agents: defaults.agents }, source, artifacts),
    env: sortedRecord(env ?? {}),
    deployment: {
      environment,
      app,
      probeUrl: probe.http,
      probeTimeoutMs: probe.timeout ?? limits.probeTimeoutMs,
    },
  };
}

function unique(names: readonly string[]): readonly string[] {
  return [...new Set(names)];
}

function sortedRecord(record: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1)));
}

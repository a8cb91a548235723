import { limits } from "../limits.ts";
import { celText } from "./cel-expression.ts";
import type { TaskOrigin } from "./expand.ts";
import type { ParamValues } from "./params.ts";
import type { Concurrency, Pipeline, Retry, Stage, Task } from "./pipeline.ts";
import type { Artifacts } from "./references.ts";
import type { ConcurrencyShape, DeployShape, ManualShape, PipelineShape, RetryShape } from "./schema.ts";
import type { TaskShape } from "./schema-task.ts";
import type { YamlPath, YamlSource } from "./yaml-value.ts";

/** A pipeline file whose checks are done. */
export interface CheckedPipeline {
  readonly shape: PipelineShape;
  readonly source: YamlSource;
  readonly artifacts: Artifacts;
  readonly file: string;
  readonly origins: ReadonlyMap<string, TaskOrigin>;
  readonly params: ParamValues;
}

/** Everything that a task may take from around it. */
interface Around extends Pick<CheckedPipeline, "source" | "artifacts" | "origins"> {
  readonly defaults: NonNullable<PipelineShape["defaults"]>;
  readonly priority: number;
}

/** Applies defaults and resolves names. */
export function buildPipeline(checked: CheckedPipeline): Pipeline {
  const { shape, source, artifacts, file, origins, params } = checked;
  const stages = source.keys(["stages"]).map((name): Stage => {
    const stage = shape.stages[name];
    const path = ["stages", name, "tasks"];
    const priority = stage?.priority ?? shape.priority ?? 0;
    const around = { source, artifacts, origins, priority, defaults: shape.defaults ?? {} };
    const tasks = source.keys(path).flatMap((taskName): Task[] => {
      const task = stage?.tasks?.[taskName];
      if (task === undefined) return [];
      return [buildTask(task, { stage: name, name: taskName, path: [...path, taskName] }, around)];
    });
    if (stage?.deploy !== undefined) tasks.push(buildDeploy(stage.deploy, name, around));
    if (stage?.manual !== undefined) tasks.push(buildGate(stage.manual, name, around));
    return { name, needs: unique(stage?.needs ?? []), tasks };
  });
  const values = [...params].map(([name, value]): [string, string] => [name, celText(value) ?? ""]);
  const rest = { params: Object.fromEntries(values), triggers: shape.on ?? {} };
  return { name: shape.name, file, ...buildConcurrency(shape.concurrency), ...rest, stages };
}

/** The name of the one task of a manual stage. */
const gateTask = "approval";

function buildGate(manual: ManualShape, stage: string, { source, origins }: Around): Task {
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
      services: [],
    },
    ...originFields(origins.get(`${stage}/${gateTask}`)),
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
  { source, artifacts, origins, defaults, priority }: Around,
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
    priority: task.priority ?? priority,
    ...buildRetry(task.retry ?? defaults.retry),
    ...buildConcurrency(task.concurrency ?? defaults.concurrency),
    allowFailure: task.allow_failure ?? false,
    secrets: Object.entries(task.secrets ?? {})
      .map(([env, { secret, file = false }]) => {
        return { secret, env, file, position: source.position([...path, "secrets", env], "key") };
      })
      .sort((a, b) => (a.env < b.env ? -1 : 1)),
    ...(task.generates === true ? { generates: generatedTasksPath } : {}),
    services: source.keys([...path, "services"]).flatMap((service) => {
      const { run, ready, timeout = limits.serviceReadyMs, env = {} } = task.services?.[service] ?? { run: "" };
      return [{ name: service, run, ready: ready ?? {}, timeoutMs: timeout, env: sortedRecord(env) }];
    }),
    ...originFields(origins.get(`${stage}/${name}`)),
  };
}

function originFields(
  origin: TaskOrigin | undefined,
): Pick<Task, "always" | "variant" | "conditions" | "when" | "conditionUnmet" | "madeFrom"> {
  const { condition = { said: [] }, variant = {}, isFinal = false, madeFrom } = origin ?? {};
  return {
    always: isFinal,
    variant: sortedRecord(variant),
    conditions: condition.said,
    ...(condition.when === undefined ? {} : { when: condition.when }),
    ...(condition.unmet === undefined ? {} : { conditionUnmet: condition.unmet }),
    ...(madeFrom === undefined ? {} : { madeFrom }),
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
function buildDeploy(deploy: DeployShape, stage: string, around: Around): Task {
  const { environment, use, start, env, probe } = deploy;
  const place = { stage, name: "deploy", path: ["stages", stage, "deploy"] };
  const task = { run: start, inputs: [], use: use.map((artifact) => ({ artifact })), cache: false };
  const [app] = use;
  const { agents } = around.defaults;
  return {
    ...buildTask(task, place, { ...around, defaults: agents === undefined ? {} : { agents } }),
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

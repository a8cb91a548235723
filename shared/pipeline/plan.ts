import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { Platform } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type ConcurrencyGroup,
  GateDecision,
  GateFieldKind,
  type PlannedTask,
  PlannedTaskSchema,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Blob } from "../cas/cas.ts";
import { type Digest, type DigestKey, digestKey, digestToMessage } from "../digest.ts";
import { limits } from "../limits.ts";
import type { TreeEntry } from "../merkle/tree-entry.ts";
import { commandBlob, platformOf } from "./action.ts";
import { placeOf } from "./format-problem.ts";
import { orderByNeeds } from "./order.ts";
import type { Deployment, Gate, GateField, Pipeline, Position, Problem, Task } from "./pipeline.ts";
import { concurrencyMessage, conditionsOf, policiesOf } from "./plan-policies.ts";
import { resolveTools, type ToolOffer } from "./resolve-tools.ts";
import { type InputSet, inputSelector } from "./select-inputs.ts";
import { type Selection, selectTasks, taskGraph, taskId } from "./select-tasks.ts";

export interface PlanRequest extends Selection {
  readonly pipeline: Pipeline;
  /** Files, symlinks and empty directories of the source tree. */
  readonly source: readonly TreeEntry[];
  /** What connected agents have; tasks that ask for tools get exact ones from here. */
  readonly offers: readonly ToolOffer[];
  /** Of the selected tasks only these are planned; default all. */
  readonly only?: (task: Task) => boolean;
}

/** What a run will do. With problems there is nothing else in it. */
export interface RunPlan {
  /** Each after all that it needs, otherwise as near to file order as that allows. */
  readonly tasks: readonly PlannedTask[];
  /** Of the run as a whole. */
  readonly concurrency?: ConcurrencyGroup;
  /** Every Command and input Directory that the tasks name by digest, once. */
  readonly blobs: readonly Blob[];
  readonly problems: readonly Problem[];
}

/**
 * Turns a pipeline and a source into tasks with Commands and input trees. Pure: the same values always give the same
 * plan, and digests do not depend on the order of keys in the file. What a task `uses` is not in its input root yet, as
 * nobody knows it before the makers have run; see graft.ts.
 */
export function planRun(request: PlanRequest): RunPlan {
  const { pipeline, source } = request;
  const sizeProblem = needsProblem(pipeline);
  if (sizeProblem !== undefined) return failed([sizeProblem]);
  const graph = taskGraph(pipeline);
  const { selected, problems } = selectTasks(pipeline, graph, request);
  if (problems.length > 0) return failed(problems);
  const { order } = orderByNeeds(
    [...graph.tasks.keys()].filter((id) => selected.has(id)),
    graph.needsOf,
  );
  const tasks = order.flatMap((id) => graph.tasks.get(id) ?? []).filter(request.only ?? (() => true));
  const inputs = selectAll(pipeline, source, tasks);
  if (inputs.problems.length > 0) return failed(inputs.problems);

  const tools = resolveAll(
    pipeline,
    // What does not run needs no agent that could run it.
    tasks.filter(({ gate, conditionUnmet }) => gate === undefined && conditionUnmet === undefined),
    request.offers,
  );
  if (tools.problems.length > 0) return failed(tools.problems);

  const blobs = new Map<DigestKey, Blob>(inputs.directories);
  let commandBytes = 0;
  const planned: PlannedTask[] = [];
  for (const { task, set } of inputs.chosen) {
    const needs = graph.needsOf(taskId(task));
    if (task.gate !== undefined) {
      planned.push(plannedGate(task, task.gate, needs));
      continue;
    }
    const platform = platformOf(task, tools.fingerprints.get(task) ?? {});
    const command = commandBlob(task);
    if (command.data.length > limits.commandBytes) {
      const message = `the script and variables of ${taskId(task)} are larger than ${limits.commandBytes} bytes together`;
      return failed([problemAt(pipeline, task.position, message, "put them into files of the source")]);
    }
    commandBytes += command.data.length;
    if (commandBytes > limits.plannedCommandBytes) {
      const message = `the scripts and variables of this run are larger than ${limits.plannedCommandBytes} bytes together`;
      const hint = "move what tasks have in common into files of the source";
      return failed([problemAt(pipeline, task.position, message, hint)]);
    }
    blobs.set(digestKey(command.digest), command);
    planned.push(plannedTask(task, { needs, command: command.digest, inputRoot: set.root, platform }));
  }
  const { concurrency } = pipeline;
  const group = concurrency === undefined ? {} : { concurrency: concurrencyMessage(concurrency) };
  return { tasks: planned, ...group, blobs: [...blobs.values()], problems: [] };
}

function failed(problems: readonly Problem[]): RunPlan {
  return { tasks: [], blobs: [], problems: problems.slice(0, limits.pipelineProblems) };
}

interface Parts {
  readonly needs: readonly string[];
  readonly command: Digest;
  readonly inputRoot: Digest;
  readonly platform: Platform | undefined;
}

function plannedTask(task: Task, { needs, command, inputRoot, platform }: Parts): PlannedTask {
  return create(PlannedTaskSchema, {
    stage: task.stage,
    name: task.name,
    needs: [...needs],
    commandDigest: digestToMessage(command),
    inputRootDigest: digestToMessage(inputRoot),
    uses: task.use.map(({ task: maker, artifact, path }) => ({ task: maker, artifact, path })),
    outputs: task.outputs.map(({ artifact, path }) => ({ artifact, path })),
    ...(platform === undefined ? {} : { platform }),
    timeout: durationFromMs(task.timeoutMs),
    doNotCache: !task.cache,
    atMostOnce: !task.idempotent,
    priority: task.priority,
    caches: task.caches.map(({ name, path }) => ({ name, path })),
    ...(task.deployment === undefined ? {} : { deployment: deploymentMessage(task.deployment) }),
    ...policiesOf(task),
  });
}

/** Nothing is executed, so there is neither a Command nor an input tree. */
function plannedGate(task: Task, gate: Gate, needs: readonly string[]): PlannedTask {
  const { title, checklist, approvers, timeoutMs, onTimeout, approvals, authorMayApprove, evidenceRequired } = gate;
  const fields = gate.fields.map(({ type, options, ...field }) => {
    return { ...field, kind: fieldKinds[type], options: [...options] };
  });
  const decision = onTimeout === "approve" ? GateDecision.APPROVED : GateDecision.REJECTED;
  const asked = { title, checklist: [...checklist], approvers: [...approvers], onTimeout: decision };
  const asksFor = { approvals, authorMayApprove, evidenceRequired, fields };
  const { stage, name } = task;
  return create(PlannedTaskSchema, {
    ...{ stage, name, needs: [...needs], doNotCache: true, ...conditionsOf(task) },
    gate: { ...asked, ...asksFor, timeout: durationFromMs(timeoutMs) },
  });
}

const fieldKinds: Readonly<Record<GateField["type"], GateFieldKind>> = {
  text: GateFieldKind.TEXT,
  number: GateFieldKind.NUMBER,
  boolean: GateFieldKind.BOOLEAN,
  choice: GateFieldKind.CHOICE,
};

function deploymentMessage({ environment, app, probeUrl, probeTimeoutMs }: Deployment) {
  return { environment, app, probe: { url: probeUrl, timeout: durationFromMs(probeTimeoutMs) } };
}

/** Two stages of 1,000 tasks, one after the other, have a million needs; the plan is one event and must stay writable. */
function needsProblem(pipeline: Pipeline): Problem | undefined {
  const sizes = new Map(pipeline.stages.map((stage) => [stage.name, stage.tasks.length]));
  let count = 0;
  for (const stage of pipeline.stages) {
    const before = stage.needs.reduce((sum, need) => sum + (sizes.get(need) ?? 0), 0);
    for (const task of stage.tasks) count += before + task.needs.length + task.use.length;
  }
  if (count <= limits.runNeeds) return undefined;
  const message = `the tasks of this pipeline need each other ${count} times; at most ${limits.runNeeds} are possible`;
  return problemAt(pipeline, { line: 1, column: 1 }, message, "put a stage with one task between large stages");
}

function resolveAll(pipeline: Pipeline, tasks: readonly Task[], offers: readonly ToolOffer[]) {
  const fingerprints = new Map<Task, Readonly<Record<string, string>>>();
  const problems: Problem[] = [];
  for (const task of tasks) {
    const resolved = resolveTools(task, offers);
    if ("problem" in resolved) problems.push({ file: pipeline.file, ...resolved.problem });
    else fingerprints.set(task, resolved.fingerprints);
  }
  return { fingerprints, problems };
}

function selectAll(pipeline: Pipeline, source: readonly TreeEntry[], tasks: readonly Task[]) {
  const { select, exhausted, directories } = inputSelector(source);
  const problems = new Map<string, Problem>();
  const report = (at: Position, message: string, hint: string) => {
    // Many tasks may share one list by an alias; its fault is one.
    const problem = problemAt(pipeline, at, message, hint);
    problems.set(`${placeOf(problem)}:${message}`, problem);
  };
  const chosen: { task: Task; set: InputSet }[] = [];
  for (const task of tasks) {
    const set = select(task.inputs);
    if (exhausted()) {
      const hint = "begin globs with a folder, and let tasks share the same inputs";
      const problem = problemAt(pipeline, task.position, "the inputs of this run are too much to select", hint);
      return { chosen: [], directories, problems: [problem] };
    }
    for (const { pattern, position } of task.inputs ?? []) {
      const hint = set.unmatched.get(pattern);
      if (hint !== undefined) report(position, `"${pattern}" matches no file of the source`, hint);
    }
    for (const use of task.use) {
      const other = set.collision(use.path);
      if (other === undefined) continue;
      const message = `artifact "${use.artifact}" would land at ${use.path}, where the inputs have ${other}`;
      report(task.position, message, "give it another path, or keep that out of the inputs");
    }
    for (const cache of task.caches) {
      const other = set.collision(cache.path);
      if (other === undefined) continue;
      const message = `cache "${cache.name}" is at ${cache.path}, where the inputs have ${other}`;
      report(cache.position, message, "give it a folder of its own, or keep that out of the inputs");
    }
    chosen.push({ task, set });
  }
  return { chosen, directories, problems: [...problems.values()] };
}

function problemAt(pipeline: Pipeline, position: Position, message: string, hint: string): Problem {
  return { file: pipeline.file, ...position, message, hint };
}

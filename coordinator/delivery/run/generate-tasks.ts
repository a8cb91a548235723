import type { ActionResult } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { EndingKind, type PlannedTask, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { readTree } from "../../../shared/merkle/load-tree.ts";
import { formatProblem } from "../../../shared/pipeline/format-problem.ts";
import { planGenerated } from "../../../shared/pipeline/plan-generated.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import { contextOf, readPipeline } from "./plan-source.ts";
import type { TaskOutcome } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

export interface GenerateDeps {
  readonly cas: Cas;
  readonly offers: () => readonly ToolOffer[];
}

/** How a task ended, with what it wrote. */
export interface OutcomeWithTasks {
  readonly outcome: TaskOutcome;
  /** Undefined for a task that writes none, or did not succeed. */
  readonly generated?: readonly PlannedTask[];
}

/**
 * Plans what a task wrote, against the source and the pipeline file of its run, and stores what the plan refers to. What
 * cannot be planned fails the task that wrote it, with every problem. Without a file there are no tasks. The same result
 * gives the same tasks, whether it was just made or comes from the cache.
 */
export async function withGeneratedTasks(
  deps: GenerateDeps,
  state: RunState,
  task: TaskState,
  made: { readonly outcome: TaskOutcome; readonly result: ActionResult | undefined },
  signal: AbortSignal,
): Promise<OutcomeWithTasks> {
  const { outcome, result } = made;
  const { generates } = task.planned;
  if (generates === "" || result === undefined || outcome.status !== TaskStatus.SUCCEEDED) return { outcome };
  const isThere = ({ path }: { readonly path: string }) => path === generates;
  const file = result.outputFiles.find(isThere)?.digest;
  if (file === undefined) {
    const other = [...result.outputDirectories, ...result.outputSymlinks].some(isThere);
    return other ? refused(outcome, `${generates} is not a file`) : { outcome, generated: [] };
  }
  if (file.sizeBytes > limits.pipelineFileBytes) {
    return refused(outcome, `${generates} is larger than ${limits.pipelineFileBytes} bytes`);
  }
  const text = new TextDecoder().decode(await readBlob(deps.cas, digestFromMessage(file), signal));
  const { tasks, blobs, problems } = planGenerated({
    ...(await planParts(deps, state, signal)),
    ...presentTasks(state, task),
    ...{ text, by: task.planned, level: levelOf(state, task), offers: deps.offers() },
  });
  if (problems.length > 0) return refused(outcome, problems.map(formatProblem).join("\n"));
  await deps.cas.writeMany(blobs, signal);
  return { outcome, generated: tasks };
}

function refused(outcome: TaskOutcome, why: string): OutcomeWithTasks {
  const detail = `the tasks that it wrote cannot be planned:\n${why}`;
  return { outcome: { ...outcome, status: TaskStatus.FAILED, ending: { kind: EndingKind.REFUSED, detail } } };
}

/** What the run was planned from. */
async function planParts({ cas }: GenerateDeps, { run, source, request, project }: RunState, signal: AbortSignal) {
  if (request === undefined) throw new MillraceError("internal", `${run} was never requested`);
  const { entries } = await readTree(cas, digestFromMessage(source, `the source of ${run}`), signal);
  const { pipelinePath: file, params, git, evaluatedPipeline: given } = request;
  const evaluated = given && new TextDecoder().decode(await readBlob(cas, digestFromMessage(given), signal));
  const pipeline = { file, ...(await readPipeline(cas, entries, { pipelinePath: file, evaluated }, signal)) };
  return { source: entries, pipeline, context: contextOf({ project, params }, git) };
}

function presentTasks({ tasks }: RunState, { name }: TaskState) {
  const written = new Set([name]);
  for (const task of tasks.values()) if (written.has(task.generatedBy)) written.add(task.name);
  const others = [...tasks.values()].filter((task) => task.name === name || !written.has(task.name));
  const planned = (some: readonly TaskState[]) => some.map((task) => task.planned);
  return { present: planned(others), before: planned(others.filter(({ generatedBy }) => generatedBy !== "")) };
}

/** 1 for a task of the pipeline file. */
function levelOf({ tasks }: RunState, task: TaskState): number {
  let level = 1;
  for (let by = tasks.get(task.generatedBy); by !== undefined; by = tasks.get(by.generatedBy)) level += 1;
  return level;
}

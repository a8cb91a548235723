import { TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { runCondition } from "../../../shared/pipeline/run-condition.ts";
import type { Decision } from "./decision.ts";
import { openingOf } from "./gate.ts";
import type { RunState } from "./run-state.ts";
import { isOpen, isPassed, type TaskState } from "./task-state.ts";

// How a run goes on by itself: which tasks begin, and which are left out, because others have ended.

/**
 * All that it needs has ended well: a person is asked, or its Action is put together; in a paused run, neither. Where the
 * run as a whole needs a place, a gate asks for it as any task does: nobody is asked about what may not begin.
 */
export function begin(decision: Decision, task: TaskState): void {
  const { state } = decision;
  if (state.pause !== undefined) decision.wait(task, WaitCause.PAUSED, pausedBy(state.pause));
  else if (task.planned.gate !== undefined && state.concurrency === undefined) openGate(decision, task);
  else decision.wait(task, WaitCause.PREPARING, "");
}

/** From now on people may decide, and the time-out runs. */
export function openGate({ state, origin, record }: Decision, task: TaskState): void {
  const { gate } = task.planned;
  if (gate === undefined) return;
  for (const kind of openingOf(state, task, gate, origin.nowMs)) record(kind);
}

/** Tasks that are new, or open again: each begins, is left out, or waits for its needs. In the order of the plan. */
export function settle(decision: Decision, tasks: Iterable<TaskState>): void {
  for (const task of tasks) {
    const ended = task.planned.needs.flatMap((name) => decision.state.tasks.get(name) ?? []);
    if (!isOpen(task) || isLeftOut(decision, task, ended) || task.unmetNeeds === 0) continue;
    decision.wait(task, WaitCause.NEEDS, `needs ${someOf(task.planned.needs)}`);
  }
}

/** What tidies up may need every task of a run. */
function someOf(needs: readonly string[]): string {
  const more = needs.length - limits.needsNamed;
  return `${needs.slice(0, limits.needsNamed).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

/** What the ends of tasks mean for those that need them. */
export function follow(decision: Decision, ...first: readonly TaskState[]): void {
  const { state } = decision;
  const ended = [...first];
  for (let need = ended.shift(); need !== undefined; need = ended.shift()) {
    for (const name of state.dependants.get(need.name) ?? []) {
      const task = state.tasks.get(name);
      if (task === undefined || task.status !== TaskStatus.WAITING) continue;
      if (isLeftOut(decision, task, [need])) ended.push(task);
    }
  }
}

/**
 * Begins the task when nothing it needs is open any more, or leaves it out, which is then so.
 * @param news those of its needs whose ends it may not know yet
 */
function isLeftOut(decision: Decision, task: TaskState, news: readonly TaskState[]): boolean {
  const reason = whyNot(decision.state, task, news);
  if (reason !== undefined) {
    decision.record({ case: "taskSkipped", value: { task: task.name, ...reason } });
    return true;
  }
  if (task.unmetNeeds === 0) begin(decision, task);
  return false;
}

/** Why a task is left out; undefined when it is not, or not yet. `passed`: what needs it goes on. */
function whyNot(
  state: RunState,
  { planned, unmetNeeds }: TaskState,
  news: readonly TaskState[],
): { readonly reason: string; readonly passed: boolean } | undefined {
  if (planned.conditionUnmet !== "") return { reason: planned.conditionUnmet, passed: true };
  // Both say themselves what they want to follow.
  const isAnyEnd = planned.always || planned.when !== "";
  const blocking = isAnyEnd ? undefined : news.find((need) => !isOpen(need) && !isPassed(need));
  if (blocking !== undefined) {
    return { reason: `needs ${blocking.name}, which ${ending(blocking)}`, passed: false };
  }
  if (unmetNeeds > 0) return undefined;
  if (planned.when !== "") {
    const unmet = unmetCondition(state, planned.when);
    if (unmet !== undefined) return unmet;
  }
  const missing = planned.uses.find(({ task, artifact }) => !hasLeft(state.tasks.get(task), artifact));
  if (missing === undefined) return undefined;
  return { reason: `uses ${missing.artifact}, which ${missing.task} did not leave`, passed: false };
}

/** Of a condition on what has become of the run so far. */
function unmetCondition(state: RunState, when: string) {
  try {
    if (runCondition(when, { failed: hasFailed(state), cancelled: state.cancelReason !== undefined })) return undefined;
    return { reason: `${when} is false`, passed: true };
  } catch (error) {
    // It was checked when the run was planned; the run must come to its end all the same.
    return { reason: `the condition ${when} cannot be worked out: ${from(error).message}`, passed: false };
  }
}

/** Whether a task has failed that may not. */
export function hasFailed({ tasks }: Pick<RunState, "tasks">): boolean {
  return [...tasks.values()].some(({ status, planned }) => status === TaskStatus.FAILED && !planned.allowFailure);
}

function hasLeft(task: TaskState | undefined, artifact: string): boolean {
  return task?.outcome?.artifacts.some(({ name }) => name === artifact) ?? false;
}

function ending({ status }: TaskState): string {
  if (status === TaskStatus.SKIPPED) return "was skipped";
  return status === TaskStatus.CANCELLED ? "was cancelled" : "failed";
}

function pausedBy({ by, reason }: NonNullable<RunState["pause"]>): string {
  return `${by} paused the run${reason === "" ? "" : `: ${reason}`}`;
}

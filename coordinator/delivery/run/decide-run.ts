import { timestampMs } from "@bufbuild/protobuf/wkt";
import { EndingKind, RunStatus, TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { formatDuration } from "../../../shared/pipeline/duration.ts";
import type { Decision } from "./decision.ts";
import { begin, follow, hasFailed, settle } from "./progress.ts";
import { reopenTasks } from "./reopen.ts";
import type { ChangeRun, RequestRun } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import { skipTask } from "./skip-task.ts";
import { requireText, taskNamed } from "./task-named.ts";
import { isOpen, type TaskState } from "./task-state.ts";

/** @throws MillraceError already_exists */
export function requestRun(decision: Decision, command: RequestRun): void {
  const { state, record } = decision;
  if (state.sequence > 0) throw new MillraceError("already_exists", `${state.run} exists already`);
  const { pipeline, pipelinePath, source, git, idempotencyKey, params = {}, tasks, concurrency } = command;
  const { evaluatedPipeline: given } = command;
  const from = {
    source,
    ...(git === undefined ? {} : { git }),
    ...(given === undefined ? {} : { evaluatedPipeline: given }),
  };
  record({ case: "runRequested", value: { pipeline, pipelinePath, ...from, idempotencyKey, params } });
  record({ case: "runPlanned", value: { tasks: [...tasks], ...(concurrency === undefined ? {} : { concurrency }) } });
  settle(decision, state.tasks.values());
}

/**
 * What concerns the run as a whole, or is asked for by a person. @throws MillraceError not_found, invalid_argument,
 * permission_denied, resource_exhausted or failed_precondition, with the reason
 */
export function changeRun(decision: Decision, command: ChangeRun): void {
  const { state, record } = decision;
  switch (command.kind) {
    case "pin":
      return record({ case: "runPinned", value: { reason: command.reason } });
    case "unpin":
      if (state.pinned) record({ case: "runUnpinned", value: {} });
      return;
    case "cancel":
      return cancel(decision, command.reason);
    case "cancel-overdue":
      return endOverdue(decision);
    case "pause":
      return pause(decision, command.reason);
    case "resume":
      return resumeByPerson(decision);
    case "comment":
      return comment(decision, command);
    case "skip":
      return skipTask(decision, command);
    case "reopen":
      return reopenTasks(decision, command);
    default:
      command satisfies never;
  }
}

/** Whether the requests so far for the end of its run mean this task, too. */
export function isToEnd({ cancels }: Pick<RunState, "cancels">, { planned }: Pick<TaskState, "planned">): boolean {
  return cancels > (planned.always ? 1 : 0);
}

/**
 * Tasks that the farm has not been given end here; the others end when their agents have stopped them. What is always
 * executed is left alone the first time, and begins when what it needs has ended; a paused run goes on for its sake.
 */
function cancel(decision: Decision, reason: string): void {
  const { state, record } = decision;
  if (state.status !== RunStatus.RUNNING || state.cancels >= 2) return;
  const isNews = state.cancels === 0 || [...state.tasks.values()].some((task) => isOpen(task) && task.planned.always);
  if (!isNews) return;
  record({ case: "runCancelRequested", value: { reason } });
  const ended: TaskState[] = [];
  for (const task of state.tasks.values()) {
    if (task.status !== TaskStatus.WAITING || !isToEnd(state, task)) continue;
    const ending = { kind: EndingKind.CANCELLED, detail: reason };
    record({ case: "taskFinished", value: { task: task.name, status: TaskStatus.CANCELLED, ending, try: task.try } });
    ended.push(task);
  }
  if (state.pause !== undefined) resume(decision);
  follow(decision, ...ended);
}

function endOverdue(decision: Decision): void {
  const { cancels, cancelTime, cancelReason } = decision.state;
  const { alwaysAfterCancelMs } = limits;
  if (cancels !== 1 || cancelTime === undefined) return;
  if (decision.origin.nowMs < timestampMs(cancelTime) + alwaysAfterCancelMs) return;
  const late = `what is always executed has not ended within ${formatDuration(alwaysAfterCancelMs)} after`;
  cancel(decision, `${late}: ${cancelReason}`);
}

/** What could begin waits; an open gate stays open, and what is to be tried again is when its time has come. */
function pause(decision: Decision, reason: string): void {
  const { state, record } = decision;
  requireText(reason, "a reason");
  if (state.status !== RunStatus.RUNNING) {
    throw new MillraceError("failed_precondition", `${state.run} has finished: there is nothing to pause`);
  }
  if (state.cancelReason !== undefined) {
    throw new MillraceError("failed_precondition", `${state.run} is being cancelled: it cannot be paused`);
  }
  if (state.pause !== undefined) return;
  record({ case: "runPaused", value: { reason } });
  for (const task of state.tasks.values()) if (couldBegin(task)) begin(decision, task);
}

/** Whoever asks twice has what was wanted; a finished run does not go on, and is not said to. */
function resumeByPerson(decision: Decision): void {
  const { state } = decision;
  if (state.pause !== undefined) return resume(decision);
  if (state.status === RunStatus.RUNNING) return;
  throw new MillraceError("failed_precondition", `${state.run} has finished: there is nothing to resume`);
}

function resume(decision: Decision): void {
  decision.record({ case: "runResumed", value: {} });
  for (const task of decision.state.tasks.values()) {
    if (task.wait?.cause === WaitCause.PAUSED) begin(decision, task);
  }
}

/** Whether nothing but the farm itself keeps it from being handed to an agent. */
export function couldBegin({ status, unmetNeeds, wait, gate }: TaskState): boolean {
  const isHeld = wait?.cause === WaitCause.RETRY_DELAY || wait?.cause === WaitCause.PAUSED;
  return status === TaskStatus.WAITING && unmetNeeds === 0 && gate === undefined && !isHeld;
}

function comment({ state, record }: Decision, { task, text }: Extract<ChangeRun, { kind: "comment" }>): void {
  requireText(text, "a comment");
  if (text.trim() === "") throw new MillraceError("invalid_argument", "a comment has at least one character");
  if (state.comments.length >= limits.runComments) {
    throw new MillraceError("resource_exhausted", `${state.run} has ${limits.runComments} comments: no more are taken`);
  }
  const about = task === "" ? "" : taskNamed(state, task).name;
  record({ case: "runCommented", value: { task: about, text } });
}

/** What a run whose tasks have all ended has come to. */
export function finalStatus(state: Pick<RunState, "tasks">): RunStatus {
  if (hasFailed(state)) return RunStatus.FAILED;
  const isCancelled = [...state.tasks.values()].some(({ status }) => status === TaskStatus.CANCELLED);
  return isCancelled ? RunStatus.CANCELLED : RunStatus.SUCCEEDED;
}

/** How many tasks have failed that may. */
export function allowedFailures({ tasks }: Pick<RunState, "tasks">): number {
  return [...tasks.values()].filter(({ status, planned }) => status === TaskStatus.FAILED && planned.allowFailure)
    .length;
}

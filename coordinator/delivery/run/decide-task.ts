import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type Ending,
  EndingKind,
  EndingSchema,
  type PlannedTask,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { formatDuration } from "../../../shared/pipeline/duration.ts";
import { couldBegin, isToEnd } from "./decide-run.ts";
import type { Decision } from "./decision.ts";
import { timeoutOf } from "./gate.ts";
import { begin, follow, openGate, settle } from "./progress.ts";
import { retryDelayMs } from "./retry-policy.ts";
import type { ChangeTask } from "./run-command.ts";
import { isOpen, isPassed, type TaskState } from "./task-state.ts";

type FinishTask = Extract<ChangeTask, { kind: "finish" }>;

/** What concerns one task. What comes when it has ended, or was begun anew, is no news. @throws MillraceError not_found */
export function changeTask(decision: Decision, command: ChangeTask): void {
  const { state, record, origin } = decision;
  if (state.status !== RunStatus.RUNNING) return;
  const task = state.tasks.get(command.task);
  if (task === undefined) throw new MillraceError("not_found", `${state.run} has no task ${command.task}`);
  const isLate = !isOpen(task) || (command.round ?? task.round) !== task.round;
  if (isLate || task.unmetNeeds > 0) return;
  switch (command.kind) {
    case "wait":
      if (task.wait?.cause !== command.cause && !isHeld(task) && isTimely(task, command.cause))
        decision.wait(task, command.cause, command.detail);
      return;
    case "submit": {
      // A repeated submit, after a restart, is no news; one that was prepared before a pause comes again after it.
      if (task.status !== TaskStatus.WAITING || isHeld(task)) return;
      const { task: name, actionDigest, executionId } = command;
      record({ case: "taskSubmitted", value: { task: name, actionDigest, executionId } });
      return;
    }
    case "start": {
      const { attempt, agent, executionId } = command;
      if (task.status === TaskStatus.WAITING) return;
      if (attempt <= task.attempts && task.status === TaskStatus.RUNNING) return;
      record({ case: "taskStarted", value: { task: task.name, attempt, agent, executionId, try: task.try } });
      return;
    }
    case "finish":
      return finish(decision, task, command);
    case "supersede":
      if (task.status === TaskStatus.WAITING) endCancelled(decision, task, command.reason);
      return;
    case "hold-back":
      return holdBack(decision, task);
    case "open-gate":
      if (couldBegin(task)) openGate(decision, task);
      return;
    case "gate-timeout": {
      const concluding = timeoutOf(state, task, { nowMs: origin.nowMs, newer: command.newer });
      for (const kind of concluding) record(kind);
      if (concluding.length > 0) follow(decision, task);
      return;
    }
    case "retry-due": {
      const { notBefore } = task;
      if (notBefore !== undefined && origin.nowMs >= timestampMs(notBefore)) begin(decision, task);
      return;
    }
    default:
      command satisfies never;
  }
}

/** Whether it waits for something that the farm has no part in. */
function isHeld({ status, wait }: TaskState): boolean {
  const isWaiting = status === TaskStatus.WAITING;
  return isWaiting && (wait?.cause === WaitCause.PAUSED || wait?.cause === WaitCause.RETRY_DELAY);
}

/** Of its admission to the farm only what waits for that is told: it may have been given to the farm, or paused, since. */
function isTimely({ status, wait }: TaskState, cause: WaitCause): boolean {
  if (!admissionWaits.has(cause)) return true;
  return status === TaskStatus.WAITING && wait !== undefined && admissionWaits.has(wait.cause);
}

const admissionWaits: ReadonlySet<WaitCause> = new Set([
  WaitCause.PREPARING,
  WaitCause.CONCURRENCY,
  WaitCause.QUOTA,
  WaitCause.SECRET,
]);

function finish(decision: Decision, task: TaskState, { outcome, generated }: FinishTask): void {
  const { state, record, origin } = decision;
  const { planned, retries, executionId } = task;
  const ending = outcome.ending === undefined ? undefined : create(EndingSchema, outcome.ending);
  const hasFailed = outcome.status === TaskStatus.FAILED && !isToEnd(state, task);
  const delayMs = hasFailed ? retryDelayMs(planned, ending, retries) : undefined;
  if (delayMs === undefined || ending === undefined) {
    record({ case: "taskFinished", value: { ...outcome, task: task.name, try: task.try } });
    const isWanted = generated !== undefined && state.cancelReason === undefined;
    follow(decision, task, ...(isWanted ? generate(decision, task, generated) : []));
    return;
  }
  const again = task.try + 1;
  const notBefore = timestampFromMs(origin.nowMs + delayMs);
  record({ case: "taskRetried", value: { task: task.name, ending, try: again, notBefore, executionId } });
  const left = `retry ${retries + 1} of ${planned.retry?.retries ?? 0}`;
  const detail = `${left} begins ${formatDuration(delayMs)} after the try before ${howEnded(ending)}`;
  decision.wait(task, WaitCause.RETRY_DELAY, detail);
}

/**
 * In the same commit as the end of the task, so that nothing begins that has to wait for what it wrote. What needs the task
 * alone begins when its end is followed; of the others, those are given that were left out.
 */
function generate(decision: Decision, { name: by }: TaskState, written: readonly PlannedTask[]): readonly TaskState[] {
  const { state, record } = decision;
  const own = () => [...state.tasks.values()].filter(({ generatedBy }) => generatedBy === by);
  if (written.length === 0 && own().length === 0) return [];
  record({ case: "tasksGenerated", value: { by, tasks: [...written] } });
  const isHeldUp = (name: string): boolean => {
    const need = state.tasks.get(name);
    return need === undefined || !isPassed(need);
  };
  settle(
    decision,
    own().filter(({ planned }) => planned.needs.some(isHeldUp)),
  );
  return own().filter((task) => !isOpen(task));
}

/** Its execution is gone, and no agent had it: it waits until the run goes on, or ends with the run. */
function holdBack(decision: Decision, task: TaskState): void {
  const { state, record } = decision;
  if (task.status === TaskStatus.WAITING) return;
  record({ case: "taskHeldBack", value: { task: task.name } });
  if (!isToEnd(state, task)) return begin(decision, task);
  endCancelled(decision, task, state.cancelReason ?? "");
}

function endCancelled(decision: Decision, task: TaskState, detail: string): void {
  const ending = { kind: EndingKind.CANCELLED, detail };
  const { name, try: number } = task;
  decision.record({
    case: "taskFinished",
    value: { task: name, status: TaskStatus.CANCELLED, ending, try: number },
  });
  follow(decision, task);
}

function howEnded({ kind, exitCode, signal }: Ending): string {
  if (kind === EndingKind.EXITED) return `exited with ${exitCode}`;
  if (kind === EndingKind.SIGNALLED) return `was ended by ${signal}`;
  if (kind === EndingKind.TIMED_OUT) return "timed out";
  return kind === EndingKind.OUT_OF_MEMORY ? "ran out of memory" : "left out an output";
}

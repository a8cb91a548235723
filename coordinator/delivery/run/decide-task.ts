import { EndingKind, RunStatus, TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Decision } from "./decision.ts";
import { timeoutOf } from "./gate.ts";
import { follow } from "./progress.ts";
import type { ChangeTask } from "./run-command.ts";
import { isOpen, type TaskState } from "./run-state.ts";

/** What concerns one task. What comes when it has ended is no news. @throws MillraceError not_found */
export function changeTask(decision: Decision, command: ChangeTask): void {
  const { state, record, origin } = decision;
  if (state.status !== RunStatus.RUNNING) return;
  const task = state.tasks.get(command.task);
  if (task === undefined) throw new MillraceError("not_found", `${state.run} has no task ${command.task}`);
  if (!isOpen(task)) return;
  switch (command.kind) {
    case "wait":
      if (task.wait?.cause !== command.cause && isTimely(task, command.cause))
        decision.wait(task, command.cause, command.detail);
      return;
    case "submit": {
      // A repeated submit, after a restart, is no news.
      if (task.status !== TaskStatus.WAITING) return;
      const { task: name, actionDigest, executionId } = command;
      record({ case: "taskSubmitted", value: { task: name, actionDigest, executionId } });
      return;
    }
    case "start": {
      const { attempt, agent, executionId } = command;
      if (attempt <= task.attempts && task.status === TaskStatus.RUNNING) return;
      record({ case: "taskStarted", value: { task: task.name, attempt, agent, executionId } });
      return;
    }
    case "finish":
      record({ case: "taskFinished", value: { ...command.outcome, task: task.name } });
      follow(decision, task);
      return;
    case "supersede": {
      if (task.status !== TaskStatus.WAITING) return;
      const ending = { kind: EndingKind.CANCELLED, detail: command.reason };
      record({ case: "taskFinished", value: { task: task.name, status: TaskStatus.CANCELLED, ending } });
      follow(decision, task);
      return;
    }
    case "gate-timeout": {
      const concluding = timeoutOf(state, task, origin.nowMs);
      for (const kind of concluding) record(kind);
      if (concluding.length > 0) follow(decision, task);
      return;
    }
    default:
      command satisfies never;
  }
}

/** Of its admission to the farm only what waits for that is told: it may have been given to the farm, or paused, since. */
function isTimely({ status, wait }: TaskState, cause: WaitCause): boolean {
  if (!admissionWaits.has(cause)) return true;
  return status === TaskStatus.WAITING && wait !== undefined && admissionWaits.has(wait.cause);
}

const admissionWaits: ReadonlySet<WaitCause> = new Set([WaitCause.PREPARING, WaitCause.CONCURRENCY, WaitCause.QUOTA]);

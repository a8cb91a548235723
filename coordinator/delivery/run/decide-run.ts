import { EndingKind, RunStatus, TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Decision } from "./decision.ts";
import { begin } from "./progress.ts";
import type { ChangeRun, RequestRun } from "./run-command.ts";
import type { RunState } from "./run-state.ts";

/** @throws MillraceError already_exists */
export function requestRun(decision: Decision, command: RequestRun): void {
  const { state, record } = decision;
  if (state.sequence > 0) throw new MillraceError("already_exists", `${state.run} exists already`);
  const { pipeline, pipelinePath, source, idempotencyKey, tasks, concurrency } = command;
  record({ case: "runRequested", value: { pipeline, pipelinePath, source, idempotencyKey } });
  record({ case: "runPlanned", value: { tasks: [...tasks], ...(concurrency === undefined ? {} : { concurrency }) } });
  for (const task of state.tasks.values()) {
    if (task.unmetNeeds === 0) begin(decision, task);
    else decision.wait(task, WaitCause.NEEDS, `needs ${task.planned.needs.join(", ")}`);
  }
}

/** What concerns the run as a whole. */
export function changeRun(decision: Decision, command: ChangeRun): void {
  const { state, record } = decision;
  switch (command.kind) {
    case "pin":
      record({ case: "runPinned", value: { reason: command.reason } });
      return;
    case "unpin":
      if (state.pinned) record({ case: "runUnpinned", value: {} });
      return;
    case "cancel":
      if (state.status === RunStatus.RUNNING) cancel(decision, command.reason);
      return;
    default:
      command satisfies never;
  }
}

/** Tasks that the farm has not been given end here; the others end when their agents have stopped them. */
function cancel({ state, record }: Decision, reason: string): void {
  if (state.cancelReason !== undefined) return;
  record({ case: "runCancelRequested", value: { reason } });
  for (const task of state.tasks.values()) {
    if (task.status !== TaskStatus.WAITING) continue;
    const ending = { kind: EndingKind.CANCELLED, detail: reason };
    record({ case: "taskFinished", value: { task: task.name, status: TaskStatus.CANCELLED, ending } });
  }
}

/** What a run whose tasks have all ended has come to. */
export function finalStatus({ tasks }: Pick<RunState, "tasks">): RunStatus {
  let status: RunStatus = RunStatus.SUCCEEDED;
  for (const task of tasks.values()) {
    if (task.status === TaskStatus.FAILED) return RunStatus.FAILED;
    if (task.status === TaskStatus.CANCELLED) status = RunStatus.CANCELLED;
  }
  return status;
}

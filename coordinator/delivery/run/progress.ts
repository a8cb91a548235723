import { TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Decision } from "./decision.ts";
import { openingOf } from "./gate.ts";
import { isOpen, type TaskState } from "./run-state.ts";

// How a run goes on by itself: which tasks begin, and which are left out, because others have ended.

/** All that it needs has succeeded: a person is asked, or its Action is put together. */
export function begin(decision: Decision, task: TaskState): void {
  const { state, origin } = decision;
  const { gate } = task.planned;
  if (gate === undefined) decision.wait(task, WaitCause.PREPARING, "");
  else for (const kind of openingOf(state, task, gate, origin.nowMs)) decision.record(kind);
}

/** What the end of a task means for those that need it. */
export function follow(decision: Decision, first: TaskState): void {
  const { state } = decision;
  const ended = [first];
  for (let need = ended.shift(); need !== undefined; need = ended.shift()) {
    for (const name of state.dependants.get(need.name) ?? []) {
      const task = state.tasks.get(name);
      if (task === undefined || !isOpen(task)) continue;
      if (need.status !== TaskStatus.SUCCEEDED) {
        const reason = `needs ${need.name}, which ${ending(need)}`;
        decision.record({ case: "taskSkipped", value: { task: name, reason } });
        ended.push(task);
      } else if (task.unmetNeeds === 0) {
        begin(decision, task);
      }
    }
  }
}

function ending({ status }: TaskState): string {
  if (status === TaskStatus.SKIPPED) return "was skipped";
  return status === TaskStatus.CANCELLED ? "was cancelled" : "failed";
}

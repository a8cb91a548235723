import { type Event, RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { allowedFailures, changeRun, finalStatus, requestRun } from "./decide-run.ts";
import { changeTask } from "./decide-task.ts";
import { type Decision, decisionOn } from "./decision.ts";
import { wordAtGate } from "./gate-words.ts";
import { follow } from "./progress.ts";
import type { Origin, RunCommand } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import { isOpen } from "./task-state.ts";

/**
 * The events that follow from a command, already folded into `state`. Pure but for that: no clock, no I/O. A command
 * that comes too late (its task has ended, its run is over) gives no events.
 */
export function decide(state: RunState, command: RunCommand, origin: Origin): Event[] {
  const decision = decisionOn(state, origin);
  answer(decision, command);
  if (state.open === 0 && state.status === RunStatus.RUNNING) {
    decision.record({
      case: "runFinished",
      value: { status: finalStatus(state), allowedFailures: allowedFailures(state) },
    });
  }
  return decision.events;
}

function answer(decision: Decision, command: RunCommand): void {
  switch (command.kind) {
    case "request":
      return requestRun(decision, command);
    case "cancel":
    case "cancel-overdue":
    case "pin":
    case "unpin":
    case "pause":
    case "resume":
    case "comment":
    case "skip":
    case "reopen":
      return changeRun(decision, command);
    case "decide-gate":
    case "withdraw-vote":
    case "add-evidence": {
      const { task, kinds } = wordAtGate(decision.state, command, decision.origin.nowMs);
      for (const kind of kinds) decision.record(kind);
      if (kinds.length > 0 && !isOpen(task)) follow(decision, task);
      return;
    }
    case "submit":
    case "wait":
    case "start":
    case "finish":
    case "supersede":
    case "hold-back":
    case "open-gate":
    case "gate-timeout":
    case "retry-due":
      return changeTask(decision, command);
    default:
      command satisfies never;
  }
}

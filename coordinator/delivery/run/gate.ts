import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  EndingKind,
  GateDecision,
  type ManualGate,
  TaskStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { formatDuration } from "../../../shared/pipeline/duration.ts";
import type { EventKind } from "../../store/event-kind.ts";
import { bindingOf } from "./gate-binding.ts";
import type { RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

// The gate of a manual stage, as values: what opens it, and what ends it.
//
//     (needs) → open → approved | rejected     by people (gate-words.ts), or by its time-out

/** A newer run of the same pipeline that was approved at the same stage: what is older must not overtake it. */
export interface NewerCandidate {
  readonly run: string;
  readonly approvedMs: number;
}

/** The events with which a gate begins to wait for people. */
export function openingOf(state: RunState, task: TaskState, gate: ManualGate, nowMs: number): EventKind[] {
  const timeoutMs = gate.timeout === undefined ? limits.gateTimeoutMs : durationMs(gate.timeout);
  const deadline = timestampFromMs(nowMs + timeoutMs);
  const { digest: binding } = bindingOf(state, task);
  const count = approvalsOf(gate) === 1 ? "" : `${approvalsOf(gate)} of `;
  const detail = `"${gate.title}": ${count}${approversOf(gate)} may decide, by millrace approve ${state.run} ${task.planned.stage}`;
  return [
    { case: "gateOpened", value: { task: task.name, binding, deadline } },
    {
      case: "taskWaiting",
      value: { task: task.name, wait: { cause: WaitCause.GATE, since: timestampFromMs(nowMs), detail } },
    },
  ];
}

/**
 * The events with which the time-out decides; none before the deadline, and none when somebody was faster. What was
 * superseded is not approved by it either.
 */
export function timeoutOf(
  state: RunState,
  task: TaskState,
  { nowMs, newer }: { readonly nowMs: number; readonly newer?: NewerCandidate | undefined },
): EventKind[] {
  const { planned, gate } = task;
  if (planned.gate === undefined || gate === undefined || gate.decided !== undefined) return [];
  if (nowMs < timestampMs(gate.deadline)) return [];
  const approved = planned.gate.onTimeout === GateDecision.APPROVED && newer === undefined;
  const decision = approved ? GateDecision.APPROVED : GateDecision.REJECTED;
  const limitMs = planned.gate.timeout === undefined ? limits.gateTimeoutMs : durationMs(planned.gate.timeout);
  const late = newer === undefined ? "" : `, and it is ${supersededBy(newer)}`;
  const comment = `nobody decided within ${formatDuration(limitMs)}${late}`;
  const ending = { kind: EndingKind.TIMED_OUT, detail: comment };
  return conclusionOf(state, task, { said: { decision, comment, timedOut: true }, rejection: ending });
}

/** What a decision says, and how the task ends when it is a no. */
export interface Conclusion {
  readonly said: { readonly decision: GateDecision; readonly comment: string; readonly timedOut: boolean };
  readonly rejection: { readonly kind: EndingKind; readonly detail: string };
}

/** The events with which a gate is decided and its task ends. */
export function conclusionOf(state: RunState, task: TaskState, { said, rejection }: Conclusion): EventKind[] {
  const decided = { task: task.name, ...said, binding: bindingOf(state, task).digest };
  const approved = said.decision === GateDecision.APPROVED;
  const outcome = approved ? { status: TaskStatus.SUCCEEDED } : { status: TaskStatus.FAILED, ending: rejection };
  return [
    { case: "gateDecided", value: decided },
    { case: "taskFinished", value: { task: task.name, try: task.try, ...outcome } },
  ];
}

/** For a person: by what, and since when. */
export function supersededBy({ run, approvedMs }: NewerCandidate): string {
  return `superseded: ${run} was approved at ${new Date(approvedMs).toISOString()}`;
}

/** How many different people must approve. */
export function approvalsOf({ approvals }: Pick<ManualGate, "approvals">): number {
  return Math.max(1, approvals);
}

/** Who may decide, for a person. */
export function approversOf({ approvers }: Pick<ManualGate, "approvers">): string {
  return approvers.length === 0 ? "developers, approvers and admins" : approvers.join(" or ");
}

import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationMs, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type BoundArtifact,
  BoundArtifactSchema,
  EndingKind,
  type EventSchema,
  type GateBinding,
  GateBindingSchema,
  GateDecision,
  type ManualGate,
  TaskStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { formatDuration } from "../../../shared/pipeline/duration.ts";
import type { Principal } from "../access/principal.ts";
import { type RunState } from "./run-state.ts";
import { isOpen, type TaskState } from "./task-state.ts";

// The gate of a manual stage, as values: what opens it, who may decide, and what a decision binds.
//
//     (needs) → open → approved | rejected     by a person, or by its time-out

/** A person says yes or no at a gate. */
export interface DecideGate {
  readonly kind: "decide-gate";
  readonly stage: string;
  readonly decision: GateDecision;
  readonly comment: string;
  /** Hash of the binding that the person looked at. */
  readonly binding: string;
  readonly by: Principal;
}

type EventKind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;

/** What a decision is about: the source, and every artifact of the tasks that the gate needs, directly or not. */
export function bindingOf(state: RunState, gate: TaskState): { readonly bound: GateBinding; readonly digest: Digest } {
  const artifacts: BoundArtifact[] = [];
  const seen = new Set<string>();
  const ahead = [...gate.planned.needs];
  for (let name = ahead.pop(); name !== undefined; name = ahead.pop()) {
    const task = state.tasks.get(name);
    if (task === undefined || seen.has(name)) continue;
    seen.add(name);
    ahead.push(...task.planned.needs);
    for (const { name: artifact, content, isExecutable } of task.outcome?.artifacts ?? []) {
      if (content.case === undefined) continue;
      const isDirectory = content.case === "directory";
      const init = { name: artifact, task: task.name, digest: content.value, isDirectory, isExecutable };
      artifacts.push(create(BoundArtifactSchema, init));
    }
  }
  // Names are unique in a pipeline, so this is one order; UTF-16 order is as good as any, as long as it is always the same.
  artifacts.sort((a, b) => (a.name < b.name ? -1 : 1));
  const { source } = state;
  const bound = create(GateBindingSchema, { artifacts, ...(source === undefined ? {} : { source }) });
  return { bound, digest: digestToMessage(digestOf(toBinary(GateBindingSchema, bound))) };
}

/** The events with which a gate begins to wait for a person. */
export function openingOf(state: RunState, task: TaskState, gate: ManualGate, nowMs: number): EventKind[] {
  const timeoutMs = gate.timeout === undefined ? limits.gateTimeoutMs : durationMs(gate.timeout);
  const deadline = timestampFromMs(nowMs + timeoutMs);
  const { digest: binding } = bindingOf(state, task);
  const detail = `"${gate.title}": ${approversOf(gate)} may decide, by millrace approve ${state.run} ${task.planned.stage}`;
  return [
    { case: "gateOpened", value: { task: task.name, binding, deadline } },
    {
      case: "taskWaiting",
      value: { task: task.name, wait: { cause: WaitCause.GATE, since: timestampFromMs(nowMs), detail } },
    },
  ];
}

/**
 * The task that a decision is for; undefined when the very same was decided already, as by a client that lost the
 * answer. @throws MillraceError not_found, permission_denied, invalid_argument or failed_precondition, with the reason.
 */
export function gateToDecide(state: RunState, command: DecideGate, nowMs: number): TaskState | undefined {
  const { stage, decision, comment, binding, by } = command;
  const { run } = state;
  const refuse = (reason: string) => new MillraceError("failed_precondition", `${stage} of ${run} ${reason}`);
  const found = [...state.tasks.values()].filter((task) => task.planned.stage === stage);
  if (found.length === 0) throw new MillraceError("not_found", `${run} has no stage ${stage}`);
  const task = found.find(({ planned }) => planned.gate !== undefined);
  const gate = task?.planned.gate;
  if (task === undefined || gate === undefined) throw refuse("is no manual stage: there is nothing to decide");
  if (decision !== GateDecision.APPROVED && decision !== GateDecision.REJECTED) {
    throw new MillraceError("invalid_argument", `a decision is APPROVED or REJECTED, not ${decision}`);
  }
  if (comment.length > limits.gateCommentChars) {
    throw new MillraceError("invalid_argument", `a comment has at most ${limits.gateCommentChars} characters`);
  }
  if (decision === GateDecision.REJECTED && comment.trim() === "") {
    throw new MillraceError("invalid_argument", "a rejection needs a comment: say what has to change");
  }
  if (!mayDecide(gate, by)) {
    throw new MillraceError(
      "permission_denied",
      `${by.name} may not decide ${stage} of ${run}: ${approversOf(gate)} may`,
    );
  }
  const { decided, decidedBy } = task.gate ?? {};
  if (decided !== undefined) {
    if (decided.decision === decision && decidedBy === by.name && decided.binding?.hash === binding) return undefined;
    throw refuse(`was ${decisionWord(decided.decision)} already, by ${decidedBy}`);
  }
  if (task.gate === undefined || !isOpen(task)) {
    throw refuse(
      isOpen(task) ? `is not open yet: it ${task.wait?.detail ?? "waits"}` : "is closed: its task has ended",
    );
  }
  // Its timer may fire late, after a restart for example; who decides does not hang on that.
  if (nowMs >= timestampMs(task.gate.deadline)) throw refuse("is closed: its time is up");
  const { hash } = bindingOf(state, task).digest;
  if (binding !== hash) {
    throw refuse(
      `now binds ${hash}, and ${binding === "" ? "no binding was given" : `the decision is about ${binding}`}: ` +
        `look again with \`millrace show ${run}\``,
    );
  }
  return task;
}

/** The events of a decision by a person, which is due to the event's principal. */
export function decisionOf(state: RunState, task: TaskState, { decision, comment, by }: DecideGate): EventKind[] {
  const said = comment === "" ? "" : `: ${comment}`;
  const rejected = { kind: EndingKind.REJECTED, detail: `by ${by.name}${said}` };
  return conclusion(state, task, { decision, comment, timedOut: false }, rejected);
}

/** The events with which the time-out decides; none before the deadline, and none when somebody was faster. */
export function timeoutOf(state: RunState, task: TaskState, nowMs: number): EventKind[] {
  const { planned, gate } = task;
  if (planned.gate === undefined || gate === undefined || gate.decided !== undefined) return [];
  if (nowMs < timestampMs(gate.deadline)) return [];
  const approved = planned.gate.onTimeout === GateDecision.APPROVED;
  const decision = approved ? GateDecision.APPROVED : GateDecision.REJECTED;
  const limitMs = planned.gate.timeout === undefined ? limits.gateTimeoutMs : durationMs(planned.gate.timeout);
  const comment = `nobody decided within ${formatDuration(limitMs)}`;
  const ending = { kind: EndingKind.TIMED_OUT, detail: comment };
  return conclusion(state, task, { decision, comment, timedOut: true }, ending);
}

function conclusion(
  state: RunState,
  task: TaskState,
  said: { readonly decision: GateDecision; readonly comment: string; readonly timedOut: boolean },
  rejection: { readonly kind: EndingKind; readonly detail: string },
): EventKind[] {
  const decided = { task: task.name, ...said, binding: bindingOf(state, task).digest };
  const approved = said.decision === GateDecision.APPROVED;
  const outcome = approved ? { status: TaskStatus.SUCCEEDED } : { status: TaskStatus.FAILED, ending: rejection };
  return [
    { case: "gateDecided", value: decided },
    { case: "taskFinished", value: { task: task.name, ...outcome } },
  ];
}

function mayDecide({ approvers }: ManualGate, { name, role }: Principal): boolean {
  return approvers.length === 0 || approvers.some((approver) => approver === role || name === `token:${approver}`);
}

function approversOf({ approvers }: ManualGate): string {
  return approvers.length === 0 ? "everybody who may submit runs" : approvers.join(" or ");
}

function decisionWord(decision: GateDecision): string {
  return decision === GateDecision.APPROVED ? "approved" : "rejected";
}

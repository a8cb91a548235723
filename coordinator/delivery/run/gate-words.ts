import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import { EndingKind, GateDecision, type GateVoted, type ManualGate } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { EventKind } from "../../store/event-kind.ts";
import type { Principal } from "../access/principal.ts";
import { approvalsOf, approversOf, conclusionOf, type NewerCandidate, supersededBy } from "./gate.ts";
import { bindingOf } from "./gate-binding.ts";
import { describeUnticked, type FilledForm, formProblems, untickedOf } from "./gate-form.ts";
import type { GateState } from "./gate-state.ts";
import type { RunState } from "./run-state.ts";
import { isOpen, type TaskState } from "./task-state.ts";

// What people do at the gate of a manual stage, as values. Who they are comes from the guard, never from a request.

/** A person says yes or no at a gate. */
export interface DecideGate extends FilledForm {
  readonly kind: "decide-gate";
  readonly stage: string;
  readonly decision: GateDecision;
  readonly comment: string;
  /** Hash of the binding that the person looked at. */
  readonly binding: string;
  readonly by: Principal;
  /** Looked up in turn with other decisions; undefined when there is none. */
  readonly newer?: NewerCandidate | undefined;
}

/** A person takes back an approval. */
export interface WithdrawVote {
  readonly kind: "withdraw-vote";
  readonly stage: string;
  readonly by: Principal;
}

/** A person lays a file beside a gate; it is in the CAS already. */
export interface AddEvidence {
  readonly kind: "add-evidence";
  readonly stage: string;
  readonly name: string;
  readonly digest: Digest;
}

export type GateCommand = DecideGate | WithdrawVote | AddEvidence;

/** What follows from a command, and for which task. */
export interface GateOutcome {
  readonly task: TaskState;
  readonly kinds: readonly EventKind[];
}

/**
 * No events when the very same was said before, as by a client that lost the answer.
 * @throws MillraceError not_found, permission_denied, invalid_argument, resource_exhausted or failed_precondition, with the
 * reason
 */
export function wordAtGate(state: RunState, command: GateCommand, nowMs: number): GateOutcome {
  const { task, gate } = gateOf(state, command.stage);
  switch (command.kind) {
    case "decide-gate":
      return { task, kinds: decided(state, { task, gate }, command, nowMs) };
    case "withdraw-vote": {
      const { votes } = requireOpen(state, task, nowMs);
      const cast = votes.get(command.by.name);
      const withdrawal = { task: task.name, withdrawn: true, ...bindingOfVote(cast?.vote) };
      return { task, kinds: cast === undefined ? [] : [{ case: "gateVoted", value: withdrawal }] };
    }
    case "add-evidence":
      return { task, kinds: [evidence(requireOpen(state, task, nowMs), task, command)] };
  }
}

/** What has to come before a gate is approved, each for a person. */
export function missingOf(state: RunState, task: TaskState): string[] {
  const { gate } = task.planned;
  if (gate === undefined || task.gate === undefined || task.gate.decided !== undefined) return [];
  const votes = countingVotes(state, task, task.gate);
  const more = approvalsOf(gate) - votes.size;
  const unticked = untickedOf(gate, votes.values()).map((item) => item + 1);
  const author = gate.approvers.length === 0 && !authorMay(gate) ? `, but not ${state.principal}` : "";
  return [
    ...(more > 0 ? [`${more} more of ${approversOf(gate)}${author}`] : []),
    ...(unticked.length > 0 ? [describeTicks(unticked)] : []),
    ...(gate.evidenceRequired && task.gate.evidence.size === 0 ? ["evidence"] : []),
  ];
}

/** @param items from 1 */
function describeTicks(items: readonly number[]): string {
  const named = `item${items.length === 1 ? "" : "s"} ${items.join(", ")}`;
  return `${named} of the checklist to be ticked (--check ${items.join(" ")})`;
}

/** Approvals of what the gate binds now, by principal. */
export function countingVotes(state: RunState, task: TaskState, gate: GateState): Map<string, GateVoted> {
  const { hash } = bindingOf(state, task).digest;
  const counting = new Map<string, GateVoted>();
  for (const [name, { vote }] of gate.votes) if (vote.binding?.hash === hash) counting.set(name, vote);
  return counting;
}

interface AtGate {
  readonly task: TaskState;
  readonly gate: ManualGate;
}

function gateOf(state: RunState, stage: string): AtGate {
  const { run } = state;
  const found = [...state.tasks.values()].filter((task) => task.planned.stage === stage);
  if (found.length === 0) throw new MillraceError("not_found", `${run} has no stage ${stage}`);
  const task = found.find(({ planned }) => planned.gate !== undefined);
  const gate = task?.planned.gate;
  if (task !== undefined && gate !== undefined) return { task, gate };
  throw refusal(state, stage, "is no manual stage: there is nothing to decide");
}

function refusal({ run }: RunState, stage: string, reason: string): MillraceError {
  return new MillraceError("failed_precondition", `${stage} of ${run} ${reason}`);
}

function decided(state: RunState, { task, gate }: AtGate, command: DecideGate, nowMs: number): EventKind[] {
  const { decision, comment, by } = command;
  requireWellSaid(command);
  requireApprover(state, task, gate, by);
  const before = task.gate;
  if (before?.decided !== undefined) {
    if (isSame(before, command)) return [];
    const word = before.decided.decision === GateDecision.APPROVED ? "approved" : "rejected";
    throw refusal(state, command.stage, `was ${word} already, by ${before.decidedBy}`);
  }
  const open = requireOpen(state, task, nowMs);
  requireBinding(state, task, command);
  if (decision === GateDecision.REJECTED) {
    const rejection = { kind: EndingKind.REJECTED, detail: `by ${by.name}: ${comment}` };
    return conclusionOf(state, task, { said: { decision, comment, timedOut: false }, rejection });
  }
  if (command.newer !== undefined) throw refusal(state, command.stage, `is ${supersededBy(command.newer)}`);
  return approved(state, { task, gate }, open, command);
}

/** One vote, and the decision when it is the last one that was missing. */
function approved(state: RunState, { task, gate }: AtGate, open: GateState, command: DecideGate): EventKind[] {
  const { comment, by, fields, checked } = command;
  const { digest: binding } = bindingOf(state, task);
  const votes = countingVotes(state, task, open);
  const said = votes.get(by.name);
  votes.delete(by.name); // this one takes its place, its ticks included
  const isLast = votes.size + 1 >= approvalsOf(gate);
  const unticked = isLast ? untickedOf(gate, [...votes.values(), command]) : [];
  requireApprovable(state, { task, gate }, { open, command, unticked });
  if (said !== undefined && isSameVote(said, command)) return [];
  const vote = { task: task.name, binding, comment, fields: { ...fields }, checked: [...checked] };
  const voted: EventKind = { case: "gateVoted", value: vote };
  if (!isLast) return [voted];
  const never = { kind: EndingKind.REJECTED, detail: "" };
  const decision = { decision: GateDecision.APPROVED, comment, timedOut: false };
  return [voted, ...conclusionOf(state, task, { said: decision, rejection: never })];
}

interface Approving {
  readonly open: GateState;
  readonly command: DecideGate;
  /** Items that the decision still lacks, from 0; none while it is not up to this approval. */
  readonly unticked: readonly number[];
}

/** Refuses an approval with everything that it lacks. */
function requireApprovable(state: RunState, { task, gate }: AtGate, { open, command, unticked }: Approving): void {
  const { stage } = task.planned;
  const wrong = formProblems(gate, command);
  const problems = [...wrong];
  if (unticked.length > 0) problems.push({ field: "checklist", description: describeUnticked(gate, unticked) });
  if (gate.evidenceRequired && open.evidence.size === 0) {
    const description = `there is none; add it with \`millrace evidence ${state.run} ${stage} FILE\``;
    problems.push({ field: "evidence", description });
  }
  if (problems.length === 0) return;
  const fieldViolations = problems.slice(0, limits.gateProblems);
  const more = problems.length - fieldViolations.length;
  const lines = fieldViolations.map(({ field, description }) => `  ${field}: ${description}`);
  if (more > 0) lines.push(`  and ${more} more`);
  const message = [`${stage} of ${state.run} is not approved so:`, ...lines].join("\n");
  const value = create(BadRequestSchema, { fieldViolations });
  const details = [{ desc: BadRequestSchema, value }];
  throw new MillraceError(wrong.length > 0 ? "invalid_argument" : "failed_precondition", message, { details });
}

function requireWellSaid({ decision, comment }: DecideGate): void {
  if (decision !== GateDecision.APPROVED && decision !== GateDecision.REJECTED) {
    throw new MillraceError("invalid_argument", `a decision is APPROVED or REJECTED, not ${decision}`);
  }
  if (comment.length > limits.gateCommentChars) {
    throw new MillraceError("invalid_argument", `a comment has at most ${limits.gateCommentChars} characters`);
  }
  if (decision === GateDecision.REJECTED && comment.trim() === "") {
    throw new MillraceError("invalid_argument", "a rejection needs a comment: say what has to change");
  }
}

/** Names are those of principals, so that one person with two tokens is one, and nobody can take another one's name. */
function requireApprover(state: RunState, task: TaskState, gate: ManualGate, { name, role }: Principal): void {
  const { stage } = task.planned;
  const isNamed = (approver: string) =>
    approver === role || approver === name || name === `user:${approver}` || name === `token:${approver}`;
  if (gate.approvers.length > 0 && !gate.approvers.some(isNamed)) {
    throw new MillraceError(
      "permission_denied",
      `${name} may not decide ${stage} of ${state.run}: ${approversOf(gate)} may`,
    );
  }
  if (name !== state.principal || authorMay(gate)) return;
  throw new MillraceError(
    "permission_denied",
    `${name} asked for ${state.run} and may not decide ${stage} of it: somebody else has to`,
  );
}

/** Of a plan from before gates asked for a number of people, everybody named may. */
function authorMay({ authorMayApprove, approvals }: ManualGate): boolean {
  return authorMayApprove || approvals === 0;
}

function requireOpen(state: RunState, task: TaskState, nowMs: number): GateState {
  const { stage } = task.planned;
  if (task.gate === undefined || !isOpen(task)) {
    const why = isOpen(task) ? `is not open yet: ${task.wait?.detail || "it waits"}` : "is closed: its task has ended";
    throw refusal(state, stage, why);
  }
  // Its timer may fire late, after a restart for example; who decides does not hang on that.
  if (nowMs >= timestampMs(task.gate.deadline)) throw refusal(state, stage, "is closed: its time is up");
  return task.gate;
}

function requireBinding(state: RunState, task: TaskState, { stage, binding }: DecideGate): void {
  const { hash } = bindingOf(state, task).digest;
  if (binding === hash) return;
  const given = binding === "" ? "no binding was given" : `the decision is about ${binding}`;
  const again = `look again with \`millrace show ${state.run}\``;
  throw refusal(state, stage, `now binds ${hash}, and ${given}: source, artifacts or the plan have changed; ${again}`);
}

function isSame({ decided: word, decidedBy, votes }: GateState, command: DecideGate): boolean {
  const { decision, binding, by } = command;
  if (word?.decision !== decision || word.binding?.hash !== binding) return false;
  const cast = votes.get(by.name);
  return decidedBy === by.name || (cast !== undefined && isSameVote(cast.vote, command));
}

function isSameVote(vote: GateVoted, { comment, fields, checked }: DecideGate): boolean {
  const names = Object.keys(fields);
  return (
    vote.comment === comment &&
    vote.checked.join() === checked.join() &&
    names.length === Object.keys(vote.fields).length &&
    names.every((name) => vote.fields[name] === fields[name])
  );
}

function bindingOfVote(vote: GateVoted | undefined): { binding?: Digest } {
  return vote?.binding === undefined ? {} : { binding: vote.binding };
}

function evidence(gate: GateState, task: TaskState, { name, digest }: AddEvidence): EventKind {
  if (!gate.evidence.has(name) && gate.evidence.size >= limits.gateEvidence) {
    throw new MillraceError("resource_exhausted", `a gate takes at most ${limits.gateEvidence} pieces of evidence`);
  }
  return { case: "evidenceAdded", value: { task: task.name, name, digest } };
}

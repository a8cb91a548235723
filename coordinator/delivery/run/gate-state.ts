import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Event, EvidenceAdded, GateDecided, GateVoted } from "../../../proto/gen/millrace/v1/event_pb.ts";

/** The gate of a manual stage, from when it opened. */
export interface GateState {
  readonly deadline: Timestamp;
  decided: GateDecided | undefined;
  /** A principal; empty while nothing is decided. */
  decidedBy: string;
  decideTime: Timestamp | undefined;
  /** By principal, in the order in which they were given; also those about what was bound before. */
  readonly votes: Map<string, CastVote>;
  /** By name, in the order in which they came. */
  readonly evidence: Map<string, LaidEvidence>;
  /** Of what the run does after it, as `planOf` in gate-binding.ts has worked it out for so many plans. */
  plan: { readonly digest: Digest; readonly plans: number } | undefined;
}

/** An approval, with when it was given. */
export interface CastVote {
  readonly vote: GateVoted;
  readonly time: Timestamp | undefined;
}

/** A piece of evidence, with whose it is. */
export interface LaidEvidence {
  readonly added: EvidenceAdded;
  readonly principal: string;
  readonly time: Timestamp | undefined;
}

export function openGate(deadline: Timestamp): GateState {
  const undecided = { decided: undefined, decidedBy: "", decideTime: undefined };
  return { deadline, ...undecided, votes: new Map(), evidence: new Map(), plan: undefined };
}

/** Folds a decision, a vote or a piece of evidence in. */
export function evolveGate(gate: GateState | undefined, event: Event): void {
  const { kind, principal, time } = event;
  if (gate === undefined) return;
  if (kind.case === "gateDecided") {
    gate.decided = kind.value;
    gate.decidedBy = principal;
    gate.decideTime = time;
  } else if (kind.case === "gateVoted") {
    gate.votes.delete(principal); // a vote that was changed is the latest one
    if (!kind.value.withdrawn) gate.votes.set(principal, { vote: kind.value, time });
  } else if (kind.case === "evidenceAdded") {
    gate.evidence.set(kind.value.name, { added: kind.value, principal, time });
  }
}

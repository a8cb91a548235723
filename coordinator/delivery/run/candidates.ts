import { create } from "@bufbuild/protobuf";
import {
  type ApprovedCandidate,
  ApprovedCandidateSchema,
  type Event,
  GateDecision,
  type RunRequested,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { NewerCandidate } from "./gate.ts";

/** A run, as far as it competes with others for the same place. */
export interface Candidate {
  readonly run: string;
  readonly project: string;
  readonly pipeline: string;
  /** Empty where the source was no commit of a branch. */
  readonly branch: string;
}

/**
 * Runs of one pipeline, project and branch are candidates for the same place, and what was approved once is not overtaken
 * by an older one. The one place that knows of more than one run when a gate is decided.
 */
export interface Candidates {
  /**
   * Decides at a gate while nobody else does: `act` gets the newer run that was approved at this stage, if there is one, and
   * what it makes durable is known to the next decision.
   */
  decide<T>(candidate: Candidate, stage: string, act: (newer: NewerCandidate | undefined) => Promise<T>): Promise<T>;
  /** As it is known now, for views. */
  newerThan(candidate: Candidate, stage: string): Promise<NewerCandidate | undefined>;
}

/** What a run is a candidate for; undefined for events that are no run's. */
export function candidateOf(run: string, events: readonly Event[]): Candidate | undefined {
  const [first] = events;
  if (first?.kind.case !== "runRequested") return undefined;
  const { pipeline, git }: RunRequested = first.kind.value;
  return { run, project: first.project, pipeline, branch: git?.branch ?? "" };
}

/** Where a run was approved, by all its events: each stage once, with the first time. */
export function approvalsOf(run: string, events: readonly Event[]): ApprovedCandidate[] {
  const candidate = candidateOf(run, events);
  const found = new Map<string, ApprovedCandidate>();
  if (candidate === undefined) return [];
  for (const { kind, time } of events.filter(isApproval)) {
    const stage = kind.case === "gateDecided" ? stageOf(kind.value.task) : "";
    const approved = create(ApprovedCandidateSchema, { ...candidate, stage, ...(time === undefined ? {} : { time }) });
    if (!found.has(stage)) found.set(stage, approved);
  }
  return [...found.values()];
}

/** Whether an event is one that `approvalsOf` looks for. */
export function isApproval({ kind }: Event): boolean {
  return kind.case === "gateDecided" && kind.value.decision === GateDecision.APPROVED;
}

/** `stage/task` → `stage`. */
function stageOf(task: string): string {
  return task.slice(0, task.indexOf("/"));
}

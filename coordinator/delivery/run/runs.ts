import type { Event, GateDecision, RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Gate, Run, RunRequest } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Digest } from "../../../shared/digest.ts";
import type { Principal } from "../access/principal.ts";
import type { RunSource, SourceSupplier } from "../source/run-source.ts";
import type { OnImportProgress } from "../source/source-imports.ts";
import type { RunState } from "./run-state.ts";

/** Who asks, and in which trace. */
export interface Asker {
  readonly principal: Principal;
  /** W3C trace context. */
  readonly traceparent: string;
}

/** An event with its place in its run: 1 for the first, without holes. */
export interface RunEvent {
  readonly sequence: number;
  readonly event: Event;
}

/** Which runs a list is of. */
export interface RunSelection {
  /** The number of a run; default beyond all. */
  readonly before?: number;
  readonly limit: number;
  /** Undefined: all. */
  readonly projects?: readonly string[] | undefined;
}

/** A call that may take its time. */
export interface Calling {
  readonly signal: AbortSignal;
  /** Told how far it is. */
  readonly onProgress?: OnImportProgress | undefined;
}

/** What runs belong to. */
export interface RunProjects {
  /** Undefined when there is no such run. Cheap for a run that goes on, one row for another one. */
  projectOf(run: string): Promise<string | undefined>;
}

/** Runs, as the faces of the product use them. Methods may be called concurrently. */
export interface Runs {
  /**
   * Starts a run of this source and resolves with its name. Throws `invalid_argument` with every problem of
   * the pipeline file (BadRequest), `failed_precondition` when blobs of the tree are missing. A supplier is not asked when
   * there is a run with the request's idempotency key.
   */
  submit(asker: Asker, request: RunRequest, source: RunSource | SourceSupplier, calling: Calling): Promise<string>;
  /** Throws `not_found`. */
  get(run: string): Promise<Run>;
  /** Newest first, without tasks; only runs older than `before` (a run's number), of these projects (default all). */
  list(options: RunSelection): Promise<Run[]>;
  /** The run's events after a sequence, then live ones until it has finished. Throws `not_found`. */
  watch(run: string, afterSequence: number, signal: AbortSignal): AsyncIterable<RunEvent>;
  /**
   * Asks for its end; resolves, when that is recorded, with how it stood before. A finished run stays as it is. Throws
   * `not_found`.
   */
  cancel(asker: Asker, run: string, reason: string): Promise<RunStatus>;
}

/** A person's word at the gate of a manual stage. */
export interface GateWord {
  readonly run: string;
  readonly stage: string;
  readonly decision: GateDecision;
  readonly comment: string;
  /** Hash of the binding that the person looked at. */
  readonly binding: string;
  /** What was filled in, by the name of the field. */
  readonly fields: Readonly<Record<string, string>>;
  /** Items of the checklist that were ticked, from 0. */
  readonly checked: readonly number[];
}

/** A gate of a run. */
export interface GateName {
  readonly run: string;
  readonly stage: string;
}

/** A file that somebody lays beside a gate; its bytes are in the CAS. */
export interface EvidenceFile extends GateName {
  readonly name: string;
  readonly digest: Digest;
}

/** The gates of runs, as the faces of the product use them. May be called concurrently. */
export interface Gates {
  /**
   * Resolves with the gate when the word is recorded, or was before. Throws `not_found`, `permission_denied` for who is no
   * approver, `invalid_argument`, and `failed_precondition` when the gate is not open, binds something else by now, lacks
   * evidence, or when a newer run was approved.
   */
  decideGate(asker: Asker, word: GateWord): Promise<Gate>;
  /** Resolves when it is recorded that there is no approval of this person, with whether there was one. Throws as above. */
  withdrawVote(asker: Asker, gate: GateName): Promise<boolean>;
  /** Resolves when it is recorded. Throws as above, and `resource_exhausted` beyond `limits.gateEvidence`. */
  addEvidence(asker: Asker, file: EvidenceFile): Promise<void>;
}

/** Who keeps runs beyond their time. May be called concurrently. */
export interface RunPins {
  /** Resolves when it is recorded. To pin again changes the reason. Throws `not_found`. */
  pin(asker: Asker, run: string, reason: string): Promise<void>;
  /** Without a pin nothing changes. Throws `not_found`. */
  unpin(asker: Asker, run: string): Promise<void>;
}

/** Runs as their keeper sees them. */
export interface KeptRuns {
  /** Those that have not finished. They change while they are looked at, and are not to be changed. */
  active(): readonly RunState[];
  /** What the log has of a run, folded; undefined when it has nothing. */
  stateOf(run: string): Promise<RunState | undefined>;
  /** Runs that were removed are no answer to a submit with their key any more. */
  forget(runs: readonly string[]): Promise<void>;
}

/** What happened to runs, for views that are folds over it. May be called concurrently. */
export interface RunHistories {
  /** The run's events so far; the array may grow later and must not be changed. Throws `not_found`. */
  history(run: string): Promise<readonly Event[]>;
}

/** Where it is written that runs were removed: their own streams are gone by then. */
export const keepingStream = "keeping";

/** `run_12` → 12; undefined when it is no name of a run. */
export function runNumber(run: string): number | undefined {
  const number = /^run_([1-9]\d{0,14})$/.exec(run)?.[1];
  return number === undefined ? undefined : Number(number);
}

export function runName(number: number): string {
  return `run_${number}`;
}

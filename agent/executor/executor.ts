import { create } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Action,
  type ActionResult,
  ActionResultSchema,
  type Command,
  type ExecutedActionMetadata,
  ExecutedActionMetadataSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type {
  Assign,
  Epoch,
  ImportPhase,
  NamedCaches,
  SealedSecrets,
  SourceImport,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import {
  type Confinement,
  type DeploymentOutcome,
  type Ending,
  EndingKind,
  EndingSchema,
  FailureScope,
  type ResourceUsage,
  ResourceUsageSchema,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Blob } from "../../shared/cas/cas.ts";
import type { Clock } from "../../shared/clock.ts";
import type { Digest } from "../../shared/digest.ts";
import { describeFullDisk, diskSpace, type StorageOwner } from "../../shared/disk-space.ts";
import { from, isDiskFull, isRemote, MillraceError } from "../../shared/errors.ts";
import type { NamedSecret } from "../../shared/masking/patterns.ts";
import type { InputRoot } from "../input-root/input-root.ts";
import type { AttemptMasking } from "../secrets/attempt-masking.ts";

/**
 * One layer of the work on an attempt. Layers are wrapped around each other in wiring.ts; each adds to the task what the
 * next one needs, and on the way back to the conclusion what it knows.
 *
 * `stop` asks for the end of the attempt; its reason is a `Stopped`. A layer that is interrupted by it throws, and one
 * that holds something (a folder, a log) gives it back first.
 */
export interface Executor<Task> {
  execute(task: Task, stop: AbortSignal): Promise<Conclusion>;
}

/** An attempt as it was given to the agent. */
export interface Assignment {
  readonly executionId: string;
  readonly epoch: Epoch;
  readonly attempt: number;
  readonly actionDigest: Digest;
  /** Those that came with it. */
  readonly blobs: readonly Blob[];
  readonly volatileEnvironment: Readonly<Record<string, string>>;
  readonly time: TaskTime;
  /** Folders that stay here between tasks, as the message says them. */
  readonly caches?: NamedCaches;
  /** Set for a host operation: the message as it came, to be journaled. */
  readonly operation?: Assign;
  /** Set when its process must not be started a second time anywhere. */
  readonly once?: AtMostOnce;
  /** Set for the import of a source. */
  readonly importing?: Importing;
  /** As they came. */
  readonly sealedSecrets?: SealedSecrets;
  /** Opened, for the time of the attempt. */
  readonly secrets?: OpenSecrets;
  /** Hides its secrets in whatever leaves the agent, also those that it makes itself. */
  readonly masking?: AttemptMasking;
}

/** An import of a source, and whom to tell how far it is. */
export interface Importing {
  readonly request: SourceImport;
  readonly tell: (phase: ImportPhase) => void;
}

/** The secrets of an attempt. Nothing of it may leave the process but by the ways that it names. */
export interface OpenSecrets {
  readonly values: readonly NamedSecret[];
  /** For the process. */
  readonly environment: Readonly<Record<string, string>>;
  /** Absolute: holds those that the process reads from files. */
  readonly folder?: string;
}

/** What an attempt needs to know whose process may have effects that must not happen twice. */
export interface AtMostOnce {
  /**
   * The farm has been silent for a lease: the process must not start any more, or ends. What it has left when it was over
   * before that is reported all the same. The reason is a `Stopped`.
   */
  readonly lapse: AbortSignal;
  /** From just before the process is started. */
  isBegun: boolean;
}

/** With a file for its output. */
export interface LoggedTask extends Assignment {
  readonly spool: string;
}

/** With its Action read. */
export interface ReadTask extends LoggedTask {
  readonly action: Action;
  readonly command: Command;
  readonly timeoutMs: number;
}

/** With its inputs in place. */
export interface LaidOutTask extends ReadTask {
  readonly root: InputRoot;
}

/** What became of an attempt. Layers fill in `result` and `times` as they return. */
export interface Conclusion {
  ending: Ending;
  readonly result: ActionResult;
  readonly times: ExecutedActionMetadata;
  readonly usage: ResourceUsage;
  /** Of a deployment. */
  readonly deployment?: DeploymentOutcome;
  /** Set when a process was started. */
  confinement?: Confinement;
}

/** A conclusion with nothing in it but how it ended. */
export function conclusion(ending: {
  kind: EndingKind;
  exitCode?: number;
  signal?: string;
  detail?: string;
  scope?: FailureScope;
}): Conclusion {
  return {
    ending: create(EndingSchema, ending),
    result: create(ActionResultSchema, ending.exitCode === undefined ? {} : { exitCode: ending.exitCode }),
    times: create(ExecutedActionMetadataSchema),
    usage: create(ResourceUsageSchema),
  };
}

/** Somebody asked for the end, the farm is in the way, or the farm is not there and this may not go on without it. */
export type StoppedKind = typeof EndingKind.CANCELLED | typeof EndingKind.INFRASTRUCTURE | typeof EndingKind.AGENT_LOST;

/** The reason of a stop signal: what the attempt ends as, and how long its processes get to clean up. */
export class Stopped extends MillraceError {
  readonly kind: StoppedKind;
  readonly graceMs: number;

  constructor(kind: StoppedKind, detail: string, graceMs: number) {
    super("canceled", detail);
    this.kind = kind;
    this.graceMs = graceMs;
  }
}

/** What the task asks for is nothing that any agent does: tried again, it would end in the same way. */
export class Refused extends MillraceError {
  constructor(detail: string, options: { readonly cause?: unknown } = {}) {
    super("invalid_argument", detail, options);
  }
}

/**
 * The conclusion of an attempt that was interrupted: as its stop signal says, as a refusal, else as the farm's own
 * failure. A full disk does not empty itself: ours would fail the next attempt here, the coordinator's all of them.
 */
export function interrupted(error: unknown, stop: AbortSignal, own: StorageOwner): Conclusion {
  const reason: unknown = stop.reason;
  if (reason instanceof Stopped) return conclusion({ kind: reason.kind, detail: reason.message });
  const { code, message } = from(error);
  if (error instanceof Refused) return conclusion({ kind: EndingKind.REFUSED, detail: message });
  const kind = EndingKind.INFRASTRUCTURE;
  if (isDiskFull(error)) {
    const detail = `${message}: ${describeFullDisk(own.owner, diskSpace(own.folder))}`;
    return conclusion({ kind, detail, scope: FailureScope.AGENT });
  }
  const isEverywhere = code === "resource_exhausted" && isRemote(error);
  return conclusion({ kind, detail: message, ...(isEverywhere ? { scope: FailureScope.FARM } : {}) });
}

/**
 * The clock of one attempt: wall time as it was at acceptance, moved on by the monotonic clock, so that durations stay
 * true when the machine's wall clock jumps.
 */
export interface TaskTime {
  now(): Timestamp;
}

export function taskTime(clock: Clock): TaskTime {
  const anchorMs = clock.nowMs() - clock.monotonicMs();
  return { now: () => timestampFromMs(Math.round(anchorMs + clock.monotonicMs())) };
}

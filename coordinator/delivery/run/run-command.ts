import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type {
  ConcurrencyGroup,
  GitSource,
  PlannedTask,
  TaskFinishedSchema,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Principal } from "../access/principal.ts";
import type { NewerCandidate } from "./gate.ts";
import type { GateCommand } from "./gate-words.ts";

export type TaskOutcome = Omit<MessageInitShape<typeof TaskFinishedSchema>, "task" | "try" | "$typeName">;

/** Somebody asks for a run. */
export interface RequestRun {
  readonly kind: "request";
  readonly pipeline: string;
  readonly pipelinePath: string;
  readonly source: Digest;
  readonly git?: GitSource | undefined;
  /** What the pipeline file gave, when it is in TypeScript. */
  readonly evaluatedPipeline?: Digest | undefined;
  readonly idempotencyKey: string;
  /** As planned, by name; undefined is none. */
  readonly params?: Readonly<Record<string, string>>;
  readonly tasks: readonly PlannedTask[];
  /** The run as a whole is a member of this group. */
  readonly concurrency?: ConcurrencyGroup | undefined;
}

/** Somebody asks for tasks once more. Tasks are `stage/task`, or `task` where that is unique. */
export interface ReopenTasks {
  readonly kind: "reopen";
  /** Empty: all that failed or were cancelled. */
  readonly tasks: readonly string[];
  readonly avoidAgents: readonly string[];
  readonly avoidLastAgent: boolean;
  readonly bypassCache: boolean;
}

/** What is wanted of a run as a whole. */
export type ChangeRun =
  | { readonly kind: "cancel"; readonly reason: string }
  /** What is always executed may have had its time after a cancellation. */
  | { readonly kind: "cancel-overdue" }
  | { readonly kind: "pin"; readonly reason: string }
  | { readonly kind: "unpin" }
  | { readonly kind: "pause"; readonly reason: string }
  | { readonly kind: "resume" }
  /** `task` is empty for the run as a whole. */
  | { readonly kind: "comment"; readonly task: string; readonly text: string }
  | { readonly kind: "skip"; readonly task: string; readonly reason: string; readonly by: Principal }
  | ReopenTasks;

/** Of which task it is, as `stage/task`. */
interface OfTask {
  readonly task: string;
  /** The round of the task that it belongs to: of an earlier one it comes too late. Undefined: the present one. */
  readonly round?: number;
}

/** What happens to one task of a run. */
export type ChangeTask = OfTask &
  (
    | /** Its Action is complete and the cache has no result. */
    { readonly kind: "submit"; readonly actionDigest: Digest; readonly executionId: string }
    | { readonly kind: "wait"; readonly cause: WaitCause; readonly detail: string }
    | {
        readonly kind: "start";
        readonly attempt: number;
        readonly agent: string;
        /** Whose process and log it is. */
        readonly executionId: string;
      }
    | {
        readonly kind: "finish";
        readonly outcome: TaskOutcome;
        /** What it wrote, planned; undefined for a task that writes none. */
        readonly generated?: readonly PlannedTask[];
      }
    /** A newer run takes its place: it ends here if the farm has not been given it. */
    | { readonly kind: "supersede"; readonly reason: string }
    /** Its execution was taken back before an agent had it, because the run is paused. */
    | { readonly kind: "hold-back" }
    /** The run of a gate has its place: people may decide. */
    | { readonly kind: "open-gate" }
    /** The time of an open gate may be up. */
    | { readonly kind: "gate-timeout"; readonly newer?: NewerCandidate | undefined }
    /** Another try may be due. */
    | { readonly kind: "retry-due" }
  );

/** Something that wants to change a run. */
export type RunCommand = RequestRun | ChangeRun | ChangeTask | GateCommand;

/** Whom an event is due to, and when. */
export interface Origin {
  readonly principal: string;
  readonly project: string;
  readonly traceparent: string;
  readonly nowMs: number;
}

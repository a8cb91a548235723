import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type {
  ConcurrencyGroup,
  PlannedTask,
  TaskFinishedSchema,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { DecideGate } from "./gate.ts";

export type TaskOutcome = Omit<MessageInitShape<typeof TaskFinishedSchema>, "task" | "$typeName">;

/** Somebody asks for a run. */
export interface RequestRun {
  readonly kind: "request";
  readonly pipeline: string;
  readonly pipelinePath: string;
  readonly source: Digest;
  readonly idempotencyKey: string;
  readonly tasks: readonly PlannedTask[];
  /** The run as a whole is a member of this group. */
  readonly concurrency?: ConcurrencyGroup | undefined;
}

/** What a person wants of a run as a whole. */
export type ChangeRun =
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "pin"; readonly reason: string }
  | { readonly kind: "unpin" };

/** What happens to one task of a run. `task` is `stage/task`. */
export type ChangeTask =
  /** Its Action is complete and the cache has no result. */
  | { readonly kind: "submit"; readonly task: string; readonly actionDigest: Digest; readonly executionId: string }
  | { readonly kind: "wait"; readonly task: string; readonly cause: WaitCause; readonly detail: string }
  | {
      readonly kind: "start";
      readonly task: string;
      readonly attempt: number;
      readonly agent: string;
      /** Whose process and log it is. */
      readonly executionId: string;
    }
  | { readonly kind: "finish"; readonly task: string; readonly outcome: TaskOutcome }
  /** A newer run takes its place: it ends here if the farm has not been given it. */
  | { readonly kind: "supersede"; readonly task: string; readonly reason: string }
  /** The time of an open gate may be up. */
  | { readonly kind: "gate-timeout"; readonly task: string };

/** Something that wants to change a run. */
export type RunCommand = RequestRun | ChangeRun | ChangeTask | DecideGate;

/** Whom an event is due to, and when. */
export interface Origin {
  readonly principal: string;
  readonly project: string;
  readonly traceparent: string;
  readonly nowMs: number;
}

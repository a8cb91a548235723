import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type Event,
  EventSchema,
  RunStatus,
  TaskStatus,
  type WaitCause,
} from "../../proto/gen/millrace/v1/event_pb.ts";

// The events of a run, told by hand.

/** When the first of them happens. */
export const startMs = Date.UTC(2026, 0, 1);

/** What happened. */
export type Kind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;

/** One event after another, each so many milliseconds after the one before. */
export function told(...steps: readonly (readonly [stepMs: number, kind: Kind])[]): Event[] {
  let timeMs = startMs;
  return steps.map(([stepMs, kind]) => {
    timeMs += stepMs;
    return create(EventSchema, { time: timestampFromMs(timeMs), kind });
  });
}

/** Somebody asked for a run of `shop`. */
export const requested: Kind = { case: "runRequested", value: { pipeline: "shop" } };
/** Tasks as `stage/task` with what they need. */
export const plan = (tasks: Readonly<Record<string, readonly string[]>>): Kind => ({
  case: "runPlanned",
  value: {
    tasks: Object.entries(tasks).map(([id, needs]) => {
      const [stage = "", name = ""] = id.split("/");
      return { stage, name, needs: [...needs] };
    }),
  },
});
/** It waits for another cause than before. */
export const waits = (task: string, cause: WaitCause): Kind => ({
  case: "taskWaiting",
  value: { task, wait: { cause } },
});
/** The scheduler has it. */
export const submitted = (task: string): Kind => ({ case: "taskSubmitted", value: { task } });
/** An agent has it, for the first time. */
export const started = (task: string): Kind => ({ case: "taskStarted", value: { task, attempt: 1, agent: "a" } });
/** It has its outcome. */
export const finished = (task: string, status: TaskStatus = TaskStatus.SUCCEEDED): Kind => ({
  case: "taskFinished",
  value: { task, status },
});
/** The run has succeeded. */
export const ended: Kind = { case: "runFinished", value: { status: RunStatus.SUCCEEDED } };

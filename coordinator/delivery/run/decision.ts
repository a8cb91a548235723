import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Event, EventSchema, type WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { EventKind } from "../../store/event-kind.ts";
import type { Origin } from "./run-command.ts";
import { evolve, type RunState } from "./run-state.ts";
import type { TaskState } from "./task-state.ts";

/** A decision that is being made: what it has come to so far is folded into the state at once. */
export interface Decision {
  readonly state: RunState;
  readonly origin: Origin;
  readonly events: Event[];
  record(kind: EventKind): void;
  /** It waits from now on, for this. */
  wait(task: TaskState, cause: WaitCause, detail: string): void;
}

/** @param state is changed by what is recorded */
export function decisionOn(state: RunState, origin: Origin): Decision {
  const events: Event[] = [];
  const { principal, project, traceparent, nowMs } = origin;
  const record = (kind: EventKind): void => {
    const event = create(EventSchema, { time: timestampFromMs(nowMs), principal, project, traceparent, kind });
    evolve(state, event);
    events.push(event);
  };
  return {
    state,
    origin,
    events,
    record,
    wait(task, cause, detail) {
      const wait = { cause, detail, since: timestampFromMs(nowMs) };
      record({ case: "taskWaiting", value: { task: task.name, wait } });
    },
  };
}

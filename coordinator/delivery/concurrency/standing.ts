import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Event, TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { taskName } from "../run/generated-tasks.ts";

/** Who of a run has asked to begin, and when: what its places in groups and quotas follow from. A fold over its events. */
export interface Standing {
  /** When the first of its tasks asked, since it was requested or reopened. Milliseconds since 1970. */
  askedMs: number | undefined;
  /** A task was given to the farm since then, or answered from the cache, or a gate has opened: the run has had its turn. */
  begun: boolean;
  /** Tasks that have asked and have not ended, each with when. */
  readonly asked: Map<string, number>;
  /** Each task's place in the plan. */
  readonly ordinals: Map<string, number>;
}

export function emptyStanding(): Standing {
  return { askedMs: undefined, begun: false, asked: new Map(), ordinals: new Map() };
}

/** Folds one event in, and gives the tasks (`stage/task`) that want to begin no more. */
export function foldStanding(standing: Standing, { kind, time }: Event): readonly string[] {
  switch (kind.case) {
    case "runPlanned":
      for (const task of kind.value.tasks) place(standing, taskName(task));
      return [];
    case "tasksGenerated":
      for (const task of kind.value.tasks) place(standing, taskName(task));
      return [];
    case "taskWaiting": {
      const { task, wait } = kind.value;
      const step = steps.get(wait?.cause);
      if (step === "leaves") return left(standing, [task]);
      if (step === "asks" && !standing.asked.has(task)) {
        const askedMs = time === undefined ? 0 : timestampMs(time);
        standing.asked.set(task, askedMs);
        standing.askedMs ??= askedMs;
      }
      return [];
    }
    case "gateOpened":
      // One that did not ask opened in an earlier version, whether or not the run had a place.
      if (standing.asked.has(kind.value.task)) standing.begun = true;
      return [];
    case "taskSubmitted":
      standing.begun = true;
      return [];
    case "taskFinished":
      if (kind.value.status !== TaskStatus.CANCELLED) standing.begun = true;
      return left(standing, [kind.value.task]);
    case "taskSkipped":
    case "taskRetried":
    case "taskHeldBack":
      return left(standing, [kind.value.task]);
    case "tasksReopened":
      return left(standing, kind.value.tasks);
    case "runFinished": {
      const rest = left(standing, [...standing.asked.keys()]);
      standing.askedMs = undefined;
      standing.begun = false;
      return rest;
    }
    default: // The other kinds say nothing of when a task may begin.
      return [];
  }
}

/**
 * What a wait means for a task's places. With the others it keeps what it has: it waits for its turn, or the farm has it.
 * What waits for something that may take hours must not keep others from a place.
 */
const steps: ReadonlyMap<WaitCause | undefined, "asks" | "leaves"> = new Map([
  [WaitCause.PREPARING, "asks"],
  [WaitCause.NEEDS, "leaves"],
  [WaitCause.GATE, "leaves"],
  [WaitCause.PAUSED, "leaves"],
  [WaitCause.RETRY_DELAY, "leaves"],
  [WaitCause.SECRET, "leaves"],
]);

function place({ ordinals }: Standing, task: string): void {
  if (!ordinals.has(task)) ordinals.set(task, ordinals.size);
}

function left({ asked }: Standing, tasks: readonly string[]): readonly string[] {
  return tasks.filter((task) => asked.delete(task));
}

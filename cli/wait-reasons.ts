import { TaskStatus, WaitCause } from "../proto/gen/millrace/v1/event_pb.ts";
import type { QueuePlace, Run, Task } from "../proto/gen/millrace/v1/run_pb.ts";
import { taskStatusLabel, timeOf, waitCauseCode } from "./output/labels.ts";
import { isoTime } from "./output/run-json.ts";

/** Why one task waits, as `why --json` prints it. Field names are a promise to scripts. */
export interface WaitReason {
  /** `stage/task`. */
  readonly task: string;
  /** `needs`, `agents-busy`, `gate`, …: see the glossary, *wait cause*. */
  readonly code: string;
  /** For a person, with names and numbers. */
  readonly detail: string;
  /** ISO 8601. */
  readonly since: string | null;
  /** How long it has waited for this. */
  readonly sinceMs: number | null;
  /** Of a task that waits for a slot: where it stands, at the moment of the question. */
  readonly queue?: QueueStanding;
  /** Of a task that waits for its needs: those that have not ended, and what they do. */
  readonly openNeeds?: readonly { readonly task: string; readonly status: string }[];
}

/** Its place among all that wait for the same agents. Field names are a promise to scripts. */
export interface QueueStanding {
  /** From 1. */
  readonly position: number;
  readonly waiting: number;
  readonly slots: number;
  readonly slotsUsed: number;
  /** What holds the slots; the first of them when there are many. */
  readonly behind: readonly { readonly execution: string; readonly agent: string }[];
}

/** Whether the queue has more to say of it than the run has. */
export function isQueued({ tasks }: Run): boolean {
  return tasks.some(({ wait }) => wait?.cause === WaitCause.AGENTS_BUSY);
}

/** Why each task of a run waits that does, in the order of the plan; `places` is what the queue says of it. */
export function reasonsOf(run: Run, places: readonly QueuePlace[], nowMs: number): WaitReason[] {
  const standings = new Map(places.map((place) => [place.task, standingOf(place)]));
  const byName = new Map(run.tasks.map((task) => [idOf(task), task]));
  return run.tasks.flatMap((task): WaitReason[] => {
    const { wait } = task;
    if (wait === undefined) return [];
    const since = timeOf(wait.since);
    const reason = {
      task: idOf(task),
      code: waitCauseCode(wait.cause),
      detail: wait.detail,
      since: isoTime(wait.since) ?? null,
      sinceMs: since === undefined ? null : Math.max(0, nowMs - since),
    };
    const queue = wait.cause === WaitCause.AGENTS_BUSY ? standings.get(reason.task) : undefined;
    if (wait.cause !== WaitCause.NEEDS) return [{ ...reason, ...(queue === undefined ? {} : { queue }) }];
    const open = task.needs.flatMap((name) => byName.get(name) ?? []).filter(({ status }) => !hasEnded(status));
    const openNeeds = open.map((need) => ({ task: idOf(need), status: taskStatusLabel(need.status) }));
    return [{ ...reason, openNeeds }];
  });
}

function standingOf({ position, waiting, slots, slotsUsed, holders }: QueuePlace): QueueStanding {
  const behind = holders.map(({ executionId: execution, agent }) => ({ execution, agent }));
  return { position, waiting, slots, slotsUsed, behind };
}

/** For a person: `3 of 12 in the queue; 4 of 4 slots taken, by …`. */
export function describeStanding({ position, waiting, slots, slotsUsed, behind }: QueueStanding): string {
  const named = behind.slice(0, 3).map(({ execution, agent }) => `${execution} on ${agent}`);
  const more = slotsUsed - named.length;
  const holders = named.length === 0 ? "" : `, by ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  return `${position} of ${waiting} in the queue; ${slotsUsed} of ${slots} slots taken${holders}`;
}

function hasEnded(status: TaskStatus): boolean {
  return status !== TaskStatus.WAITING && status !== TaskStatus.QUEUED && status !== TaskStatus.RUNNING;
}

function idOf(task: Task): string {
  return `${task.stage}/${task.name}`;
}

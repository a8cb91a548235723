import { TaskStatus, WaitCause } from "../proto/gen/millrace/v1/event_pb.ts";
import type { Pool } from "../proto/gen/millrace/v1/pool_pb.ts";
import type { QueuePlace, Run, Task } from "../proto/gen/millrace/v1/run_pb.ts";
import { describePool } from "./output/describe-pool.ts";
import { isoTime, taskStatusLabel, timeOf, waitCauseCode } from "./output/labels.ts";
import { waitAdvice } from "./wait-advice.ts";

/** Why one task waits, as `why --json` prints it. Field names are a promise to scripts. */
export interface WaitReason {
  /** `stage/task`. */
  readonly task: string;
  /** `needs`, `agents-busy`, `gate`, …: see the glossary, *wait cause*. */
  readonly code: string;
  /** For a person, with names and numbers. */
  readonly detail: string;
  /** For a person, what can be done about it; empty where waiting is all there is to do. */
  readonly advice: string;
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
  /** Pools that could bring agents for it, and how they stand. */
  readonly pools: readonly { readonly name: string; readonly standing: string }[];
}

/** What `why` asks the coordinator for beside the run. */
export interface QueueAnswer {
  readonly places: readonly QueuePlace[];
  readonly pools: readonly Pool[];
}

/** Whether the queue has more to say of it than the run has. */
export function isQueued({ tasks }: Run): boolean {
  return tasks.some(({ wait }) => wait !== undefined && standsInQueue(wait.cause));
}

function standsInQueue(cause: WaitCause): boolean {
  return cause === WaitCause.AGENTS_BUSY || cause === WaitCause.POOL_SCALING;
}

/** Why each task of a run waits that does, in the order of the plan; `queue` is what the queue says of it. */
export function reasonsOf(run: Run, { places, pools }: QueueAnswer, nowMs: number): WaitReason[] {
  const standings = new Map(places.map((place) => [place.task, standingOf(place, pools)]));
  const byName = new Map(run.tasks.map((task) => [idOf(task), task]));
  return run.tasks.flatMap((task): WaitReason[] => {
    const { wait } = task;
    if (wait === undefined) return [];
    const since = timeOf(wait.since);
    const reason = {
      task: idOf(task),
      code: waitCauseCode(wait.cause),
      detail: wait.detail,
      advice: waitAdvice(wait.cause, run.name),
      since: isoTime(wait.since) ?? null,
      sinceMs: since === undefined ? null : Math.max(0, nowMs - since),
    };
    const queue = standsInQueue(wait.cause) ? standings.get(reason.task) : undefined;
    if (wait.cause !== WaitCause.NEEDS) return [{ ...reason, ...(queue === undefined ? {} : { queue }) }];
    const open = task.needs.flatMap((name) => byName.get(name) ?? []).filter(({ status }) => !hasEnded(status));
    const openNeeds = open.map((need) => ({ task: idOf(need), status: taskStatusLabel(need.status) }));
    return [{ ...reason, openNeeds }];
  });
}

function standingOf(
  { position, waiting, slots, slotsUsed, holders, pools }: QueuePlace,
  all: readonly Pool[],
): QueueStanding {
  const behind = holders.map(({ executionId: execution, agent }) => ({ execution, agent }));
  const growing = pools.map((name) => {
    const pool = all.find(({ settings }) => settings?.name === name);
    return { name, standing: pool === undefined ? `pool ${name}` : describePool(pool) };
  });
  return { position, waiting, slots, slotsUsed, behind, pools: growing };
}

/** For a person: `3 of 12 in the queue; 4 of 4 slots taken, by …`. */
export function describeStanding({ position, waiting, slots, slotsUsed, behind, pools }: QueueStanding): string {
  const named = behind.slice(0, 3).map(({ execution, agent }) => `${execution} on ${agent}`);
  const more = slotsUsed - named.length;
  const holders = named.length === 0 ? "" : `, by ${named.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  const growing = pools.map(({ standing }) => `; ${standing}`).join("");
  return `${position} of ${waiting} in the queue; ${slotsUsed} of ${slots} slots taken${holders}${growing}`;
}

function hasEnded(status: TaskStatus): boolean {
  return status !== TaskStatus.WAITING && status !== TaskStatus.QUEUED && status !== TaskStatus.RUNNING;
}

function idOf(task: Task): string {
  return `${task.stage}/${task.name}`;
}

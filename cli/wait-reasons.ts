import { TaskStatus, WaitCause } from "../proto/gen/millrace/v1/event_pb.ts";
import type { Run, Task } from "../proto/gen/millrace/v1/run_pb.ts";
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
  /** Of a task that waits for its needs: those that have not ended, and what they do. */
  readonly openNeeds?: readonly { readonly task: string; readonly status: string }[];
}

/** Why each task of a run waits that does, in the order of the plan. */
export function reasonsOf(run: Run, nowMs: number): WaitReason[] {
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
    if (wait.cause !== WaitCause.NEEDS) return [reason];
    const open = task.needs.flatMap((name) => byName.get(name) ?? []).filter(({ status }) => !hasEnded(status));
    const openNeeds = open.map((need) => ({ task: idOf(need), status: taskStatusLabel(need.status) }));
    return [{ ...reason, openNeeds }];
  });
}

function hasEnded(status: TaskStatus): boolean {
  return status !== TaskStatus.WAITING && status !== TaskStatus.QUEUED && status !== TaskStatus.RUNNING;
}

function idOf(task: Task): string {
  return `${task.stage}/${task.name}`;
}

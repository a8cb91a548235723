import { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { RunTimeline, TaskTimeline } from "./run-timeline.ts";

/** A stretch of the longest path in which one thing was the case. */
export interface Segment {
  /** `stage/task`; empty for what no task accounts for. */
  readonly task: string;
  readonly stage: string;
  /** Why it waited; undefined while an agent worked on it. */
  readonly wait: WaitCause | undefined;
  readonly fromMs: number;
  readonly durationMs: number;
}

/**
 * The chain of tasks that made the run as long as it was: backwards from the task that ended last, to the need that ended
 * last, and so on to the beginning. Each task counts from the moment at which its last need had ended, so the segments
 * lie end to end and sum exactly to the lead time. In the order of time; none is empty.
 */
export function longestPath({ tasks, leadTimeMs }: RunTimeline): Segment[] {
  const backwards: Segment[] = [];
  const add = (segment: Omit<Segment, "durationMs">, toMs: number): void => {
    if (toMs > segment.fromMs) backwards.push({ ...segment, durationMs: toMs - segment.fromMs });
  };
  const nobody = (fromMs: number, toMs: number) =>
    add({ task: "", stage: "", wait: WaitCause.UNSPECIFIED, fromMs }, toMs);

  let atMs = leadTimeMs;
  const seen = new Set<TaskTimeline>();
  for (let task = lastOf(tasks.values()); task !== undefined && !seen.has(task) && atMs > 0; ) {
    seen.add(task);
    nobody(Math.min(task.endMs, atMs), atMs);
    atMs = Math.min(task.endMs, atMs);
    const need = lastOf(task.needs.flatMap((name) => tasks.get(name) ?? []));
    const readyMs = Math.min(need?.endMs ?? 0, atMs);
    for (const { wait, fromMs, toMs } of task.intervals.toReversed()) {
      if (toMs <= readyMs || fromMs >= atMs) continue;
      nobody(toMs, atMs);
      atMs = Math.min(toMs, atMs);
      const beginMs = Math.max(fromMs, readyMs);
      add({ task: task.name, stage: task.stage, wait, fromMs: beginMs }, atMs);
      atMs = beginMs;
    }
    nobody(readyMs, atMs);
    atMs = readyMs;
    task = need;
  }
  nobody(0, atMs);
  return backwards.toReversed();
}

/** The one that ended last; among equals one that was not skipped, as a skipped task only shared the end of its need. */
function lastOf(tasks: Iterable<TaskTimeline>): TaskTimeline | undefined {
  let last: TaskTimeline | undefined;
  for (const task of tasks) {
    if (last === undefined || task.endMs > last.endMs || (task.endMs === last.endMs && last.skipped)) last = task;
  }
  return last;
}

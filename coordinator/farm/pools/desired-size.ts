/** What counts for a pool at one moment. */
export interface PoolWork {
  /** Executions that wait. */
  readonly queued: number;
  /** Executions that its agents hold. */
  readonly running: number;
  /** What one keeps a slot busy for, on average; undefined when none has ended yet. */
  readonly taskTimeMs: number | undefined;
}

/** The settings that decide on the size of a pool. */
export interface SizeRules {
  readonly min: number;
  readonly max: number;
  readonly targetWaitMs: number;
  readonly idleTimeoutMs: number;
  /** Of each agent. */
  readonly slots: number;
}

/** A size that was asked for, and when last. */
export interface Need {
  readonly size: number;
  /** On the monotonic clock. */
  readonly lastMs: number;
}

/** The needs that still count; sizes fall from first to last, times grow, so there is one entry a size at most. */
export type RecentNeeds = readonly Need[];

/**
 * How many agents get through this work within the target wait, between `min` and `max`: the seconds of work that are
 * queued and running, by the seconds that one agent does in that time. Never more than have something to do, at least one
 * when there is anything. One that runs counts in full: how much of it is left nobody knows, and its agent is there anyway.
 * An execution of unknown length is taken to be as long as the target wait, which is a slot for each.
 */
export function neededSize({ queued, running, taskTimeMs }: PoolWork, rules: SizeRules): number {
  const { min, targetWaitMs, slots } = rules;
  const count = queued + running;
  if (count === 0) return min;
  const byTime = Math.ceil((count * (taskTimeMs ?? targetWaitMs)) / (targetWaitMs * slots));
  const byUse = Math.ceil(count / slots);
  return clamp(Math.max(1, Math.min(byTime, byUse)), rules);
}

/** Adds what is needed now, and forgets what was last needed an idle time-out ago or longer. */
export function remember(
  needs: RecentNeeds,
  size: number,
  { nowMs, idleTimeoutMs }: { readonly nowMs: number; readonly idleTimeoutMs: number },
): RecentNeeds {
  const greater = needs.filter((need) => need.size > size && nowMs - need.lastMs < idleTimeoutMs);
  return [...greater, { size, lastMs: nowMs }];
}

/**
 * The size that a pool should have: the greatest that was needed within the last idle time-out. So it grows at once and
 * shrinks only when all of that time could have done with less, and a load that comes and goes moves nothing.
 */
export function desiredSize(needs: RecentNeeds, bounds: Pick<SizeRules, "min" | "max">): number {
  return clamp(needs[0]?.size ?? 0, bounds);
}

function clamp(size: number, { min, max }: Pick<SizeRules, "min" | "max">): number {
  return Math.min(max, Math.max(min, size));
}

import { placeInOrder } from "../../../shared/place-in-order.ts";

/** A task that wants to run on its project's account. */
export interface Claim {
  /** `run_13 release/deploy`. */
  readonly id: string;
  /** `run_13`. */
  readonly run: string;
  /** Greater goes first. */
  readonly priority: number;
  /** When it asked, in milliseconds since 1970. */
  readonly askedMs: number;
  /** Among those of its run that asked in the same millisecond: its place in the plan. */
  readonly ordinal: number;
}

/** The tasks of one project that run, and those that wait until fewer do. Changed in place. */
export interface Quota {
  readonly running: Map<string, Claim>;
  /** How many of each run run. */
  readonly runningOf: Map<string, number>;
  /** By run, each in the order in which its tasks have their turn; no run without one. */
  readonly waiting: Map<string, Claim[]>;
}

export function emptyQuota(): Quota {
  return { running: new Map(), runningOf: new Map(), waiting: new Map() };
}

/** Puts it among those that wait; it does not run before the quota is settled. */
export function enqueueClaim({ waiting }: Quota, claim: Claim): void {
  const line = waiting.get(claim.run);
  if (line === undefined) waiting.set(claim.run, [claim]);
  else line.splice(placeInLine(line, claim), 0, claim);
}

/** It runs, whatever the quota says: it did before the coordinator was started again. */
export function holdClaim({ running, runningOf }: Quota, claim: Claim): void {
  running.set(claim.id, claim);
  runningOf.set(claim.run, (runningOf.get(claim.run) ?? 0) + 1);
}

/** It runs no more, or does not want to. */
export function leaveQuota({ running, runningOf, waiting }: Quota, claim: Claim): void {
  if (running.delete(claim.id)) {
    const left = (runningOf.get(claim.run) ?? 0) - 1;
    if (left > 0) runningOf.set(claim.run, left);
    else runningOf.delete(claim.run);
    return;
  }
  const line = waiting.get(claim.run) ?? [];
  const place = placeInLine(line, claim);
  if (line[place]?.id !== claim.id) return;
  line.splice(place, 1);
  if (line.length === 0) waiting.delete(claim.run);
}

/**
 * Lets tasks run while fewer than `max` do: the greatest priority first, then of the run that has fewest running, so that a
 * large run does not keep small ones waiting, then who asked first.
 * @param max 0 is no bound
 */
export function settleQuota(quota: Quota, max: number): Claim[] {
  const granted: Claim[] = [];
  while (max === 0 || quota.running.size < max) {
    const next = nextClaim(quota);
    if (next === undefined) break;
    leaveQuota(quota, next);
    holdClaim(quota, next);
    granted.push(next);
  }
  return granted;
}

function nextClaim({ waiting, runningOf }: Quota): Claim | undefined {
  let best: Claim | undefined;
  for (const [claim] of waiting.values()) {
    if (claim === undefined) continue;
    if (best === undefined || fairer(claim, best, runningOf) < 0) best = claim;
  }
  return best;
}

function fairer(a: Claim, b: Claim, runningOf: ReadonlyMap<string, number>): number {
  const running = (runningOf.get(a.run) ?? 0) - (runningOf.get(b.run) ?? 0);
  return b.priority - a.priority || running || a.askedMs - b.askedMs;
}

function placeInLine(line: readonly Claim[], claim: Claim): number {
  return placeInOrder(line, (other) => inOrder(other, claim) < 0);
}

function inOrder(a: Claim, b: Claim): number {
  return b.priority - a.priority || a.askedMs - b.askedMs || a.ordinal - b.ordinal;
}

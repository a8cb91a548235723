// What a blob is worth, as one number: the least goes first. What nothing needs has 0.

const minuteMs = 60_000;
/** From here on: artifacts of runs that are kept. Minutes since 1970 stay below it for four thousand years. */
const keptFrom = 2 ** 31;

/** Never removed for want of room: an unfinished run, a pin or an environment needs it. */
export const neededRank = 2 ** 32 - 1;

/** Part of a cached result: by when that was last of use. */
export function cachedRank(usedAtMs: number): number {
  return Math.max(1, Math.min(keptFrom - 1, Math.floor(usedAtMs / minuteMs)));
}

/** An artifact, or the log, of a run that is kept: it goes when no cached result is left to go, the oldest run first. */
export function keptRank(finishedMs: number): number {
  return Math.max(keptFrom, Math.min(neededRank - 1, keptFrom + Math.floor(finishedMs / minuteMs)));
}

/** Cached results that were last used before this moment have no greater rank. */
export function unusedBeforeMs(rank: number): number {
  return rank <= 0 ? 0 : (Math.min(rank, keptFrom - 1) + 1) * minuteMs;
}

/** The greatest rank of a cached result among these; 0 when there is none. */
export function greatestCached(ranks: readonly number[]): number {
  return ranks.reduce((greatest, rank) => (rank < keptFrom ? Math.max(greatest, rank) : greatest), 0);
}

/** How many bytes there are of each rank. */
export type BytesByRank = Map<number, number>;

/**
 * The least rank so that what has it or less makes up the bytes wanted; all that may go when that is not enough.
 * Undefined when nothing may go.
 */
export function cutOff(bytesByRank: BytesByRank, wantedBytes: number): number | undefined {
  let sum = 0;
  let last: number | undefined;
  for (const [rank, bytes] of [...bytesByRank].sort(([a], [b]) => a - b)) {
    if (rank === neededRank || sum >= wantedBytes) break;
    sum += bytes;
    last = rank;
  }
  return last;
}

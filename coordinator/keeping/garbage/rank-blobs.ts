import type { CasKeeping, Ranking } from "../../../shared/cas/cas-keeping.ts";
import type { Digest } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import { type RollbackTargets, rollbackTargets } from "../../delivery/environment/rollback-targets.ts";
import type { KeptRuns } from "../../delivery/run/runs.ts";
import type { ActionCacheKeeping } from "../../farm/action-cache/action-cache-keeping.ts";
import type { EventStore } from "../../store/event-store.ts";
import type { StreamKeeping } from "../../store/stream-keeping.ts";
import { activeRoots, type BlobRoot, keptRoots, rootRanker, submittedActions } from "./needed-blobs.ts";
import { cachedRank, keptRank, neededRank } from "./rank.ts";
import type { RunAge } from "./retention.ts";

export interface RankBlobsDeps {
  readonly cas: Pick<CasKeeping, "beginRanking">;
  readonly actionCache: Pick<ActionCacheKeeping, "closures">;
  readonly runs: KeptRuns;
}

/** What makes blobs worth something. */
export interface Worth {
  readonly artifactsKept: readonly RunAge[];
  readonly releases: readonly Digest[];
  /** Cached results that were last used before count for nothing. */
  readonly cacheUsedAfterMs: number;
}

/**
 * Ranks every blob that something needs. It takes time, and things change meanwhile: that does no harm, for whatever
 * comes to need a blob in that time was told of it, and so the store keeps it.
 * @returns the cached results whose closures are not whole: nobody can use them any more
 */
export type RankBlobs = (worth: Worth, signal: AbortSignal) => Promise<Digest[]>;

export function rankBlobs({ cas, actionCache, runs }: RankBlobsDeps): RankBlobs {
  const remembered = rememberedRoots(runs);
  return async ({ artifactsKept, releases, cacheUsedAfterMs }, signal) => {
    const ranking = cas.beginRanking();
    const { rankRoot, rankAction } = rootRanker(ranking, signal);
    for (const state of runs.active()) {
      for (const root of activeRoots(state)) await rankRoot(root, neededRank);
      for (const action of submittedActions(state)) await rankAction(action, neededRank);
    }
    for (const digest of releases) await rankRoot({ digest, isTree: true }, neededRank);
    for (const { run, pinned, finishedMs = 0 } of artifactsKept) {
      signal.throwIfAborted();
      const rank = pinned ? neededRank : keptRank(finishedMs);
      for (const root of await remembered(run, finishedMs)) await rankRoot(root, rank);
    }
    return await rankCached(ranking, actionCache.closures(signal), cacheUsedAfterMs);
  };
}

async function rankCached(
  ranking: Ranking,
  closures: ReturnType<ActionCacheKeeping["closures"]>,
  usedAfterMs: number,
): Promise<Digest[]> {
  const broken: Digest[] = [];
  for await (const { action, usedAtMs, closure } of closures) {
    if (usedAtMs < usedAfterMs) continue;
    if (ranking.rank(closure, cachedRank(usedAtMs)) > 0) broken.push(action);
  }
  return broken;
}

/**
 * A finished run has made what it has made, so its events are read once for each time that it has finished; the latest are
 * remembered.
 */
function rememberedRoots(
  runs: Pick<KeptRuns, "stateOf">,
): (run: string, finishedMs: number) => Promise<readonly BlobRoot[]> {
  const known = new Map<string, readonly BlobRoot[]>();
  let count = 0;
  return async (run, finishedMs) => {
    const key = `${run} ${finishedMs}`;
    const before = known.get(key);
    if (before !== undefined) return before;
    const state = await runs.stateOf(run);
    const roots = state === undefined ? [] : keptRoots(state);
    known.set(key, roots);
    count += 1 + roots.length;
    for (const [oldest, old] of known) {
      if (count <= limits.keptRootsRemembered) break;
      known.delete(oldest);
      count -= 1 + old.length;
    }
    return roots;
  };
}

/** What all environments need, together. */
export async function neededByEnvironments(
  store: Pick<EventStore, "read"> & Pick<StreamKeeping, "streams">,
): Promise<RollbackTargets> {
  const runs: string[] = [];
  const releases: Digest[] = [];
  for (const stream of await store.streams("environment/")) {
    const { commits } = await store.read(stream);
    const targets = rollbackTargets(commits.flatMap(({ commit }) => commit.events));
    runs.push(...targets.runs);
    releases.push(...targets.releases);
  }
  return { runs, releases };
}

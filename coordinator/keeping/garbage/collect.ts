import type { CasKeeping, IdleBlob } from "../../../shared/cas/cas-keeping.ts";
import type { Clock } from "../../../shared/clock.ts";
import type { Digest } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import type { ActionCacheKeeping } from "../../farm/action-cache/action-cache-keeping.ts";
import type { EventStore } from "../../store/event-store.ts";
import type { StreamKeeping } from "../../store/stream-keeping.ts";
import type { ExpireRuns } from "./expire-runs.ts";
import { type BytesByRank, cachedRank, cutOff, greatestCached, unusedBeforeMs } from "./rank.ts";
import { neededByEnvironments, type RankBlobs } from "./rank-blobs.ts";

/** What went, or would have gone. */
export interface Collection {
  readonly runs: readonly string[];
  /** Runs of which the logs alone went. */
  readonly runLogs: number;
  readonly cachedResults: number;
  readonly blobs: number;
  readonly blobBytes: number;
  readonly compactedBytes: number;
  /** What the store takes on disk afterwards. */
  readonly storeBytes: number;
  /** What it may take; `Infinity` is without a bound. */
  readonly storeBytesMax: number;
}

export interface CollectDeps {
  readonly store: Pick<EventStore, "read"> & Pick<StreamKeeping, "streams">;
  readonly cas: CasKeeping;
  readonly actionCache: ActionCacheKeeping;
  readonly expiry: ExpireRuns;
  readonly rank: RankBlobs;
  readonly clock: Clock;
  /** Cached results that were unused for longer go. */
  readonly cacheAgeMs: number;
  readonly casBytesMax: number;
  /** Bytes that must go from the store at this moment, so that it can take so many more. */
  readonly excessBytes: (wantedBytes: number) => number;
}

/**
 * One round of the keeper: runs whose time is over, with their logs; cached results that nobody has used for long, each
 * with all that it alone owns; blobs that nothing needs. Then, if the store holds too much, more cached results by last
 * use and, when none is left, artifacts of the oldest runs. In the end the room of removed small blobs is won back.
 */
export async function collectGarbage(deps: CollectDeps, options: CollectOptions): Promise<Collection> {
  const { cas, clock, expiry } = deps;
  const { dryRun, signal } = options;
  const beganMs = clock.nowMs();
  const { runs: neededRuns, releases } = await neededByEnvironments(deps.store);
  const choice = await expiry.choose(new Set(neededRuns));
  const runs = await (dryRun ? expiry.wouldExpire(choice.expired) : expiry.expire(choice.expired));
  const runLogs = await (dryRun ? expiry.countLogs(choice.logsExpired) : expiry.removeLogs(choice.logsExpired));

  const stale = cachedRank(beganMs - deps.cacheAgeMs) - 1;
  const { artifactsKept } = choice;
  const broken = await deps.rank({ artifactsKept, releases, cacheUsedAfterMs: unusedBeforeMs(stale) }, signal);
  const round = collectionRound(deps, options);
  await round.removeBroken(broken, beganMs);
  await round.removeUpTo(stale);
  const excess = deps.excessBytes(options.wantedBytes) - (dryRun ? round.sum().blobBytes : 0);
  if (excess > 0) await round.makeRoom(excess);
  const liveShareMax = excess > 0 ? limits.compactLiveShareFull : limits.compactLiveShare;
  const compactedBytes = dryRun ? 0 : await cas.compact({ liveShareMax, signal });
  return {
    runs,
    runLogs,
    ...round.sum(),
    compactedBytes,
    storeBytes: cas.usage().diskBytes,
    storeBytesMax: deps.casBytesMax,
  };
}

export interface CollectOptions {
  /** Removes nothing and says what would go. */
  readonly dryRun: boolean;
  /** For which there shall be room afterwards. */
  readonly wantedBytes: number;
  readonly signal: AbortSignal;
}

/** What goes from the store, the least worth first. A dry run counts the same and removes nothing. */
function collectionRound({ cas, actionCache }: CollectDeps, { dryRun, signal }: CollectOptions) {
  const sum = { cachedResults: 0, blobs: 0, blobBytes: 0 };
  /** What has it or less is gone. */
  let goneUpTo = 0;

  /** Results before their blobs: a hit must never be without its bytes. */
  async function removeResults(upTo: number): Promise<void> {
    if (!dryRun) {
      sum.cachedResults += await actionCache.removeUnused(unusedBeforeMs(upTo));
      return;
    }
    for await (const { usedAtMs } of actionCache.closures(signal)) {
      const rank = cachedRank(usedAtMs);
      if (rank > goneUpTo && rank <= upTo) sum.cachedResults += 1;
    }
  }

  async function removeBlobs(upTo: number): Promise<void> {
    for await (const idle of cas.idle(signal)) {
      const worthless = idle.filter((blob) => rankOf(blob) > (dryRun ? goneUpTo : 0) && rankOf(blob) <= upTo);
      if (worthless.length === 0) continue;
      const digests = worthless.map(({ digest }) => digest);
      const gone = dryRun
        ? { blobs: digests.length, bytes: digests.reduce((bytes, { sizeBytes }) => bytes + sizeBytes, 0) }
        : await cas.remove(digests);
      sum.blobs += gone.blobs;
      sum.blobBytes += gone.bytes;
    }
  }

  async function removeUpTo(rank: number): Promise<void> {
    if (rank <= goneUpTo) return;
    await removeResults(rank);
    await removeBlobs(rank);
    goneUpTo = rank;
  }

  return {
    sum: () => sum,
    removeUpTo,
    /** Results that miss a blob, unless they were written again since they were looked at. */
    async removeBroken(broken: readonly Digest[], lookedAtMs: number): Promise<void> {
      for (let start = 0; start < broken.length; start += limits.removalSlice) {
        const slice = broken.slice(start, start + limits.removalSlice);
        sum.cachedResults += dryRun ? slice.length : await actionCache.remove(slice, lookedAtMs);
      }
    },
    /** As much as is wanted, of what may go. */
    async makeRoom(wantedBytes: number): Promise<void> {
      const bytesByRank: BytesByRank = new Map();
      for await (const idle of cas.idle(signal)) {
        for (const blob of idle) {
          const rank = rankOf(blob);
          if (rank > goneUpTo) bytesByRank.set(rank, (bytesByRank.get(rank) ?? 0) + blob.digest.sizeBytes);
        }
      }
      const cut = cutOff(bytesByRank, wantedBytes);
      if (cut === undefined) return;
      // Results that are used now stay although artifacts go: without their blobs, which nobody may remove, they give no room.
      await removeUpTo(greatestCached([...bytesByRank.keys()].filter((rank) => rank <= cut)));
      await removeBlobs(cut);
    },
  };
}

/** What nothing needs is worth as much as what a cached result of its last use needs: it may be sent again tomorrow. */
function rankOf({ rank, usedAtSeconds }: IdleBlob): number {
  return rank === 0 ? cachedRank(usedAtSeconds * 1000) : rank;
}

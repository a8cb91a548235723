import type { Digest } from "../digest.ts";
import { limits } from "../limits.ts";
import type { BlobLedger } from "./blob-ledger.ts";
import type { BlobLocation } from "./blob-table.ts";
import type { Cas } from "./cas.ts";
import type { CasKeeping } from "./cas-keeping.ts";
import type { ChangingFiles } from "./changing-files.ts";
import { type CompactionDeps, compactSegments } from "./compaction.ts";
import type { DiskIndex } from "./disk-index.ts";
import { removeOrphans } from "./orphans.ts";
import { walkTable } from "./walk-table.ts";

export interface DiskKeepingDeps extends CompactionDeps {
  readonly index: Pick<DiskIndex, "move" | "remove">;
  readonly changing: Pick<ChangingFiles, "isStored" | "remove">;
  /** Of the store. */
  readonly dir: string;
  readonly promiseMs: number;
  readonly ledger: BlobLedger;
  readonly removeFile: (digest: Digest) => Promise<void>;
  /** Reads without a use. */
  readonly peekMany: Cas["readMany"];
  readonly nowSeconds: () => number;
}

interface RemovedBlob {
  readonly digest: Digest;
  readonly location: BlobLocation;
  readonly usedAtSeconds: number;
}

/** The keeper's side of the disk store. */
export function diskKeeping(deps: DiskKeepingDeps): CasKeeping {
  const { table, ledger, space, index, changing } = deps;
  let orphansGone = false;

  function isIdle(usedAtSeconds: number): boolean {
    return usedAtSeconds < deps.nowSeconds() - deps.promiseMs / 1000;
  }

  /** Looks and forgets in one go: whoever asks from then on is told that the blob is missing. */
  async function removeSlice(digests: readonly Digest[]): Promise<{ blobs: number; bytes: number }> {
    const removed: RemovedBlob[] = [];
    for (const digest of digests) {
      const usedAtSeconds = table.usedAt(digest);
      if (usedAtSeconds === undefined || !isIdle(usedAtSeconds) || changing.isStored(digest)) continue;
      const location = ledger.forget(digest);
      if (location !== undefined) removed.push({ digest, location, usedAtSeconds });
    }
    if (removed.length === 0) return { blobs: 0, bytes: 0 };
    const gone = removeRows(removed);
    const works = removed.map(({ digest, location }) =>
      changing.remove(digest, async () => {
        await gone; // the row first: a name without a file would be a broken promise, a file without a name is garbage
        ledger.release(digest, location);
        if (location.segment === 0) await deps.removeFile(digest);
      }),
    );
    for (const result of await Promise.allSettled(works)) if (result.status === "rejected") throw result.reason;
    return { blobs: removed.length, bytes: removed.reduce((sum, { digest }) => sum + digest.sizeBytes, 0) };
  }

  /** What the index still names is there again: a restart would find it, too. */
  async function removeRows(removed: readonly RemovedBlob[]): Promise<void> {
    try {
      await index.remove(removed.map(({ digest }) => digest));
    } catch (error) {
      for (const { digest, location, usedAtSeconds } of removed) {
        if (table.get(digest) === undefined) table.set(digest, location, usedAtSeconds);
      }
      throw error;
    }
  }

  return {
    usage: () => ({ diskBytes: space.bytes() + ledger.fileBytes(), blobs: table.size }),

    beginRanking() {
      table.clearRanks();
      return {
        rank(digests, rank) {
          let absent = 0;
          for (const digest of digests) if (!table.rank(digest, rank) && digest.sizeBytes > 0) absent += 1;
          return absent;
        },
        readMany: deps.peekMany,
      };
    },

    async *idle(signal) {
      const none = (): void => undefined; // a blob that comes twice does no harm
      for await (const blobs of walkTable(table, signal, none)) {
        const idle = blobs.filter(({ usedAtSeconds }) => isIdle(usedAtSeconds));
        if (idle.length > 0) yield idle;
      }
    },

    async remove(digests) {
      const sum = { blobs: 0, bytes: 0 };
      for (let start = 0; start < digests.length; start += limits.removalSlice) {
        const { blobs, bytes } = await removeSlice(digests.slice(start, start + limits.removalSlice));
        sum.blobs += blobs;
        sum.bytes += bytes;
      }
      return sum;
    },

    async compact(options) {
      if (!orphansGone) await removeOrphans({ ...deps, has: (digest) => table.has(digest) }, options.signal);
      orphansGone = true; // a process that lives leaves none
      return await compactSegments(deps, options);
    },
  };
}

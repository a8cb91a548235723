import { type DigestKey, digestKey } from "../../shared/digest.ts";
import { diskFloorBytes, diskSpace } from "../../shared/disk-space.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { EvictableCaches } from "../caches/named-caches.ts";
import type { BlobFiles } from "./blob-files.ts";
import { chooseCaches, chooseEvictions, excessBytes, type StoreBounds } from "./eviction.ts";
import type { UsageIndex } from "./usage-index.ts";

/** Keeps the local store within its bounds. */
export interface Evictor {
  /** Looks, and evicts in the background what is too much. Cheap when nothing is. */
  check(): void;
  /** Waits for an eviction that is under way; none begins any more. */
  close(): Promise<void>;
}

export interface EvictorOptions {
  readonly files: Pick<BlobFiles, "remove">;
  readonly usage: UsageIndex;
  readonly pinned: ReadonlyMap<DigestKey, unknown>;
  /** Count into the same bounds. */
  readonly caches: EvictableCaches;
  readonly bounds: StoreBounds;
  readonly freeBytes: () => number;
  /** Called before blobs are evicted for want of free disk: trees hold links to their files, which would stay on disk. */
  readonly onDiskLow: () => Promise<void>;
  readonly onError: (error: MillraceError) => void;
}

/** Evicts least recently used caches, then blobs, when there are too many, or the disk has too little room for anybody. */
export function evictor(options: EvictorOptions): Evictor {
  const { files, usage, pinned, caches, bounds, freeBytes, onDiskLow, onError } = options;
  let running: Promise<void> | undefined;
  let closed = false;
  /** Said once, until there is room again. */
  let complained = false;

  const sizes = () => ({ storedBytes: usage.bytes() + caches.bytes(), freeBytes: freeBytes() });

  async function evict(): Promise<void> {
    if (freeBytes() < bounds.freeBytesMin) await onDiskLow();
    const first = chooseCaches(caches.idle(), sizes(), bounds);
    if (first.length > 0) await caches.evict(first.map(({ id }) => id));
    const chosen = chooseEvictions({ blobs: usage.blobs(), pinned, ...sizes() }, bounds);
    for (let start = 0; start < chosen.length; start += limits.evictionSlice) {
      // Pins may have come since the choice; between this look and the removal nothing else runs.
      const free = chosen
        .slice(start, start + limits.evictionSlice)
        .map(({ digest }) => digest)
        .filter((digest) => !pinned.has(digestKey(digest)));
      for (const digest of free) files.remove(digest);
      usage.removed(free);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const left = freeBytes();
    if (left < bounds.freeBytesMin && !complained) {
      onError(
        new MillraceError(
          "resource_exhausted",
          `the disk of the agent's data folder has ${left} bytes free, less than the ${bounds.freeBytesMin} that it should ` +
            "have, and the agent has nothing more to evict: free some space, or tasks will fail for want of it",
        ),
      );
    }
    complained = left < bounds.freeBytesMin;
  }

  return {
    check() {
      if (closed || running !== undefined || excessBytes(sizes(), bounds) <= 0) return;
      running = evict()
        .catch((error: unknown) => onError(from(error, "evicting blobs from the local store")))
        .finally(() => {
          running = undefined;
        });
    },
    async close() {
      closed = true;
      await running;
    },
  };
}

/** The bounds of a store of at most `maxBytes` in a folder; on a small disk the floor is a part of that. */
export function storeBounds(folder: string, maxBytes: number): StoreBounds {
  return {
    highBytes: maxBytes,
    lowBytes: maxBytes * limits.storeLowMark,
    freeBytesMin: diskFloorBytes(diskSpace(folder).sizeBytes),
  };
}

import type { Digest } from "../digest.ts";
import type { BlobLocation, BlobTable, PlacedBlob } from "./blob-table.ts";
import { isEmptyBlob } from "./distinct.ts";
import type { SegmentSpace } from "./segment-space.ts";

export interface BlobLedgerDeps {
  readonly table: BlobTable;
  readonly space: SegmentSpace;
  readonly nowSeconds: () => number;
  /** Of blobs with files of their own, at the start. */
  readonly fileBytes: number;
}

/** Which blobs are there, and what they take: all of it in memory and in one turn of the event loop. */
export interface BlobLedger {
  /** Whether it is there; if so, it stays for a while. */
  use(digest: Digest): boolean;
  /** They are there, from now on at these places. */
  put(blobs: readonly PlacedBlob[], usedAtSeconds: number): void;
  /** It is there no more; where it was. Its room stays taken. */
  forget(digest: Digest): BlobLocation | undefined;
  /** The room of a forgotten blob may be won back: only once the index names it no more, for a restart believes the index. */
  release(digest: Digest, location: BlobLocation): void;
  /** Of blobs with files of their own. */
  fileBytes(): number;
}

export function blobLedger({ table, space, nowSeconds, ...start }: BlobLedgerDeps): BlobLedger {
  let { fileBytes } = start;

  function forget(digest: Digest): BlobLocation | undefined {
    const location = table.get(digest);
    table.delete(digest);
    return location;
  }

  function release(digest: Digest, location: BlobLocation): void {
    if (location.segment === 0) fileBytes -= digest.sizeBytes;
    else space.removed({ digest, ...location });
  }

  return {
    use: (digest) => isEmptyBlob(digest) || table.use(digest, nowSeconds()),
    put(blobs, usedAtSeconds) {
      for (const blob of blobs) {
        const before = forget(blob.digest); // where another writer put it meanwhile
        if (before !== undefined) release(blob.digest, before);
        table.set(blob.digest, blob, usedAtSeconds);
        if (blob.segment === 0) fileBytes += blob.digest.sizeBytes;
        else space.added(blob);
      }
    },
    forget,
    release,
    fileBytes: () => fileBytes,
  };
}

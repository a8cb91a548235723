import type { Digest, DigestKey } from "../digest.ts";
import type { MerkleTree } from "../merkle/build-tree.ts";
import type { FileStats } from "./file-stats.ts";

/** A file that was met on a scan: its path relative to the scanned directory, with `/`. */
export interface ScannedFile {
  readonly path: string;
  /** As they were before its bytes were read. */
  readonly stats: FileStats;
  readonly digest: Digest;
}

/** What earlier snapshots of one directory learned. */
export interface KnownFiles {
  /** The digest of a file that is unchanged since it was last hashed, as far as its stats can tell. */
  digestOf(path: string, stats: FileStats): Digest | undefined;
  /** Whether the last snapshot had this Directory in it. */
  hadDirectory(key: DigestKey): boolean;
}

/** What is remembered of a snapshot. */
export interface SnapshotRecord {
  readonly scanned: readonly ScannedFile[];
  /** How many of them were not known by their stats. */
  readonly filesRead: number;
  readonly tree: Pick<MerkleTree, "directories">;
}

/**
 * Digests of the files of one directory by their stats, so that unchanged ones need not be read again. A cache and no
 * more: it may forget at any time, and whatever of it is damaged is forgotten and said, never trusted.
 * Opened for one snapshot and closed by whoever opened it. Several processes may have it open at a time: what is recorded
 * is true whoever records it last.
 */
export interface StatCache extends KnownFiles {
  /** Remembers the snapshot and forgets all that is not in it. Never fails: it says what went wrong and lets it be. */
  save(snapshot: SnapshotRecord): Promise<void>;
  /** Waits for what is being remembered. */
  close(): Promise<void>;
}

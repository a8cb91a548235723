import type { BigIntStats } from "node:fs";
import { limits } from "../limits.ts";

/** What tells one state of a file from another without reading it. Times are of the file system, in ns since 1970. */
export interface FileStats {
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  /** Of the last change of anything about the file; unlike the mtime no program can set it. */
  readonly ctimeNs: bigint;
  readonly inode: bigint;
}

/** The part of a stat result that is compared. */
export function fileStatsOf({ size, mtimeNs, ctimeNs, ino }: BigIntStats): FileStats {
  return { sizeBytes: Number(size), mtimeNs, ctimeNs, inode: ino };
}

/** Whether it is the same file in the same state, as far as a stat can tell. */
export function equalStats(a: FileStats, b: FileStats): boolean {
  return a.sizeBytes === b.sizeBytes && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.inode === b.inode;
}

/**
 * The racy-clean rule, as git has it: a file that was changed at about the time of the snapshot may be changed again
 * within the same tick of the file system's clock and then looks as it did when it was read. So only what was last
 * changed well before the snapshot began may be recognised by its stats later; the rest is read again next time.
 */
export function isSettled({ mtimeNs, ctimeNs }: FileStats, startedMs: number): boolean {
  const before = BigInt(startedMs - limits.statSettleMs) * 1_000_000n;
  return mtimeNs < before && ctimeNs < before;
}

/**
 * Whether wall time has gone back since an earlier snapshot by so much that a file changed now could bear the times of
 * one that was read then: nothing recorded may be recognised any more.
 */
export function wentBack(earlierStartedMs: number, startedMs: number): boolean {
  return startedMs < earlierStartedMs - limits.statSettleMs;
}

import { statfsSync } from "node:fs";
import { from, isDiskFull, MillraceError } from "./errors.ts";
import { formatBytes } from "./format-bytes.ts";
import { limits } from "./limits.ts";

/** The file system that a folder lies on, at one moment. */
export interface DiskSpace {
  readonly folder: string;
  /** What a program without privileges may still write. */
  readonly freeBytes: number;
  readonly sizeBytes: number;
}

/** Synchronous, a few microseconds. Throws `not_found` when the folder is not there. */
export function diskSpace(folder: string): DiskSpace {
  try {
    const { bavail, blocks, bsize } = statfsSync(folder);
    return { folder, freeBytes: bavail * bsize, sizeBytes: blocks * bsize };
  } catch (error) {
    throw from(error, `asking for the free space of ${folder}`);
  }
}

/** How much should be free on a disk of this size: less may not do for the next task. */
export function diskFloorBytes(sizeBytes: number): number {
  return Math.min(limits.diskFreeBytesMin, sizeBytes * limits.diskFreeShareMin);
}

/** As it travels: in heartbeats, and to those who ask how the farm is. */
export function diskMessage({ folder, freeBytes, sizeBytes }: DiskSpace) {
  const [free, size, floor] = [freeBytes, sizeBytes, diskFloorBytes(sizeBytes)].map((bytes) =>
    BigInt(Math.floor(bytes)),
  );
  return { folder, freeBytes: free ?? 0n, sizeBytes: size ?? 0n, floorBytes: floor ?? 0n };
}

/** "the disk of the coordinator is full: /srv/cas has 0 B of 300.0 MiB free; …": for a person, with what to do. */
export function describeFullDisk(owner: string, { folder, freeBytes, sizeBytes }: DiskSpace): string {
  return (
    `the disk of ${owner} is full: ${folder} has ${formatBytes(freeBytes)} of ${formatBytes(sizeBytes)} free; ` +
    "free some space there or enlarge it, then run again"
  );
}

export interface StorageOwner {
  /** Whose disk it is, for a person: "the coordinator", "agent-1 on build-7". */
  readonly owner: string;
  readonly folder: string;
}

/** What went wrong with a disk, as `from`; of a full one it says which, how full, and what to do. */
export function storageFailure(error: unknown, doing: string, { owner, folder }: StorageOwner): MillraceError {
  if (!isDiskFull(error)) return from(error, doing);
  const message = `${doing}: ${describeFullDisk(owner, diskSpace(folder))}`;
  return new MillraceError("resource_exhausted", message, { cause: error });
}

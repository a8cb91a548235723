import { type DiskSpace, diskFloorBytes } from "../../../shared/disk-space.ts";
import { limits } from "../../../shared/limits.ts";

export interface StoreState {
  /** What the store takes on disk. */
  readonly storeBytes: number;
  readonly disk: Pick<DiskSpace, "freeBytes" | "sizeBytes">;
}

/**
 * Bytes that should go: above the high mark all down to the low one, and below the floor of free disk, whoever fills it,
 * a quarter more than is lacking. So not every new blob asks for a round of its own.
 */
export function excessBytes({ storeBytes, disk }: StoreState, bytesMax: number): number {
  const over = storeBytes > bytesMax * limits.casHighMark ? storeBytes - bytesMax * limits.casLowMark : 0;
  const floor = diskFloorBytes(disk.sizeBytes);
  const under = disk.freeBytes < floor ? floor * 1.25 - disk.freeBytes : 0;
  return Math.max(over, under);
}

import { limits } from "../limits.ts";
import type { PlacedBlob } from "./blob-table.ts";

interface Space {
  /** Of the file. */
  sizeBytes: number;
  /** Of blobs that exist. */
  liveBytes: number;
  live: number;
}

/** How much of each segment is still used; what is not is won back by compaction. In memory, and cheap. */
export type SegmentSpace = ReturnType<typeof segmentSpace>;

export function segmentSpace() {
  const spaces = new Map<number, Space>();
  let total = 0;

  function spaceOf(segment: number): Space {
    const known = spaces.get(segment) ?? { sizeBytes: 0, liveBytes: 0, live: 0 };
    spaces.set(segment, known);
    return known;
  }

  function count({ segment, digest }: PlacedBlob, by: 1 | -1): void {
    if (segment === 0) return;
    const space = spaceOf(segment);
    space.live += by;
    space.liveBytes += by * digest.sizeBytes;
  }

  return {
    /** The file of a segment has this size now. */
    grew(segment: number, sizeBytes: number): void {
      const space = spaceOf(segment);
      total += sizeBytes - space.sizeBytes;
      space.sizeBytes = sizeBytes;
    },
    added: (place: PlacedBlob): void => count(place, 1),
    removed: (place: PlacedBlob): void => count(place, -1),
    forget(segment: number): void {
      total -= spaces.get(segment)?.sizeBytes ?? 0;
      spaces.delete(segment);
    },
    /** Of all files together. */
    bytes: (): number => total,
    sizeOf: (segment: number): number => spaces.get(segment)?.sizeBytes ?? 0,
    /** Whether no blob is in it. */
    isEmpty: (segment: number): boolean => (spaces.get(segment)?.live ?? 0) === 0,
    /** Segments of which no more than `compactLiveShare` is used, those with the least first. */
    sparse: (): number[] =>
      [...spaces]
        .filter(([, { liveBytes, sizeBytes }]) => liveBytes <= sizeBytes * limits.compactLiveShare)
        .sort(([, a], [, b]) => a.liveBytes - b.liveBytes)
        .map(([segment]) => segment),
  };
}

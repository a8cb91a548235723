import type { PlacedBlob } from "./blob-table.ts";

interface Space {
  /** Of the file. */
  sizeBytes: number;
  /** Of blobs that exist. */
  liveBytes: number;
  live: number;
}

export type SegmentSpace = ReturnType<typeof segmentSpace>;

/** How much of each segment is still used; what is not is won back by compaction. In memory, and cheap. */
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
    /** Whether no blob is in it. */
    isEmpty: (segment: number): boolean => (spaces.get(segment)?.live ?? 0) === 0,
    /** Sealed segments of which no more than this share is used, those with the least first. */
    sparse(liveShareMax: number): number[] {
      const written = Math.max(...spaces.keys());
      return [...spaces]
        .filter(([segment, space]) => segment < written && space.liveBytes <= space.sizeBytes * liveShareMax)
        .sort(([, a], [, b]) => a.liveBytes - b.liveBytes)
        .map(([segment]) => segment);
    },
    /** Whether no more than this share of the segment that is being written is used. */
    isWrittenSparse(liveShareMax: number): boolean {
      const { liveBytes, sizeBytes } = spaceOf(Math.max(...spaces.keys()));
      return sizeBytes > 0 && liveBytes <= sizeBytes * liveShareMax;
    },
  };
}

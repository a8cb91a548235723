import { type Digest, digestEquals, digestKey, digestOf } from "../digest.ts";
import { limits } from "../limits.ts";
import { batches } from "./batches.ts";
import type { BlobTable, PlacedBlob } from "./blob-table.ts";
import type { DiskIndex } from "./disk-index.ts";
import type { Packer } from "./packer.ts";
import type { SegmentSpace } from "./segment-space.ts";
import type { Segments } from "./segments.ts";
import { walkTable } from "./walk-table.ts";

export interface CompactionDeps {
  readonly table: BlobTable;
  readonly index: Pick<DiskIndex, "move">;
  readonly segments: Segments;
  readonly space: SegmentSpace;
  readonly packer: Pick<Packer, "between">;
  /** Takes a blob out of the store that turned out to be damaged. */
  readonly quarantine: (digest: Digest) => Promise<void>;
}

export interface CompactionOptions {
  /** Segments of which more is used are left as they are. */
  readonly liveShareMax: number;
  readonly signal: AbortSignal;
}

/**
 * Empties segments that hold little and removes them. What is still used is appended to the segment that is being
 * written, like a new blob, and brought to disk; then one write of the index moves it; then the old file goes. Killed before
 * the write, the new copies are garbage behind the known end and are cut off at the next start; killed after it, the old
 * segment holds nothing that is named and is removed then.
 * @returns the bytes won back
 */
export async function compactSegments(
  deps: CompactionDeps,
  { liveShareMax, signal }: CompactionOptions,
): Promise<number> {
  const { segments, space, table } = deps;
  const before = space.bytes();
  await deps.packer.between(async () => {
    if (space.isWrittenSparse(liveShareMax)) await segments.seal();
  });
  const sparse = space.sparse(liveShareMax).slice(0, limits.compactSegments);
  if (sparse.length === 0) return 0;
  const bySegment = new Map<number, PlacedBlob[]>([...sparse].map((segment) => [segment, []]));
  for await (const blobs of walkTable(table, signal, () => bySegment.forEach((found) => found.splice(0)))) {
    for (const blob of blobs) bySegment.get(blob.segment)?.push(blob);
  }
  for (const [segment, blobs] of bySegment) {
    for (const batch of batches(blobs, ({ digest }) => digest, limits.casCommitBytes)) {
      signal.throwIfAborted();
      await deps.packer.between(() => moveBatch(deps, batch));
    }
    if (space.isEmpty(segment)) await segments.drop(segment);
  }
  return Math.max(0, before - space.bytes());
}

async function moveBatch(deps: CompactionDeps, batch: readonly PlacedBlob[]): Promise<void> {
  const { table, index, segments, space } = deps;
  const isThere = ({ digest, segment, offset }: PlacedBlob): boolean => {
    const now = table.get(digest);
    return now !== undefined && now.segment === segment && now.offset === offset;
  };
  const present = batch.filter(isThere);
  const bytes = await segments.readMany(present);
  const whole: { readonly from: PlacedBlob; readonly data: Uint8Array }[] = [];
  for (const from of present) {
    const data = bytes.get(digestKey(from.digest));
    if (data !== undefined && digestEquals(digestOf(data), from.digest)) whole.push({ from, data });
    else await deps.quarantine(from.digest); // a copy would give it the looks of a good one
  }
  const places = await segments.append(whole.map(({ from, data }) => ({ digest: from.digest, data })));
  const moves = whole.flatMap(({ from }, at) => {
    const to = places[at];
    return to === undefined ? [] : [{ from, to }];
  });
  await index.move(moves);
  for (const { from, to } of moves) {
    if (!isThere(from)) continue; // removed meanwhile: the copy is garbage
    table.move(from.digest, to);
    space.removed(from);
    space.added(to);
  }
}

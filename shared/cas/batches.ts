import type { Digest } from "../digest.ts";

/** Blobs of one batch beside the bytes: many tiny ones must not make a message of digests alone. */
const blobsPerBatch = 10_000;

/** Splits in order into groups whose blobs sum to at most `bytesMax` (a larger single one stands alone). */
export function* batches<Item>(
  items: Iterable<Item>,
  digestOfItem: (item: Item) => Digest,
  bytesMax: number,
): Generator<Item[]> {
  let batch: Item[] = [];
  let bytes = 0;
  for (const item of items) {
    const { sizeBytes } = digestOfItem(item);
    if (batch.length > 0 && (bytes + sizeBytes > bytesMax || batch.length >= blobsPerBatch)) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += sizeBytes;
  }
  if (batch.length > 0) yield batch;
}

import type { Digest, DigestKey } from "../digest.ts";

/** A blob in memory. The store keeps no reference to `data` after the call. */
export interface Blob {
  readonly digest: Digest;
  readonly data: Uint8Array;
}

export interface ReadRange {
  /** First byte; default 0. Beyond the size: `out_of_range`. */
  readonly offset?: number;
  /** At most this many bytes; default all. */
  readonly limit?: number;
}

/**
 * Content-addressed storage: blobs by digest, immutable, written any number of times by any number of writers.
 *
 * - Methods may be called concurrently and in any order. Nothing is closed by callers: whoever made the store closes it.
 * - The empty blob always exists.
 * - A resolved write is durable as far as the adapter is, and a blob is visible all at once or not at all.
 * - Every method ends with `canceled` when its signal aborts.
 */
export interface Cas {
  /** Which of these are absent, in the order given, without duplicates. Exact, and extends the life of those present. */
  findMissing(digests: readonly Digest[], signal?: AbortSignal): Promise<Digest[]>;
  /**
   * The bytes, in chunks of at most `limits.streamChunkBytes`.
   * Throws `not_found` before the first chunk when absent, `data_loss` when the bytes turn out to be wrong.
   */
  read(digest: Digest, range?: ReadRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Throws `invalid_argument` when the bytes are not those that the digest names; then nothing was stored. */
  write(digest: Digest, source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void>;
  /** Whole blobs, by key; absent ones are left out. For small blobs: the caller keeps the sum within memory. */
  readMany(digests: readonly Digest[], signal?: AbortSignal): Promise<Map<DigestKey, Uint8Array>>;
  /** All or an error; on an error some may have been stored. `invalid_argument` as for write. */
  writeMany(blobs: readonly Blob[], signal?: AbortSignal): Promise<void>;
}

import type { Digest } from "../digest.ts";
import type { Cas } from "./cas.ts";

/** What a store takes. */
export interface CasUsage {
  /** On disk, with what compaction has not won back yet. */
  readonly diskBytes: number;
  readonly blobs: number;
}

/** A blob that nobody has asked for in a while. */
export interface IdleBlob {
  readonly digest: Digest;
  /** As it was ranked in the present round; 0 when it was not. */
  readonly rank: number;
  /** Its last use; after a restart up to an hour too late. */
  readonly usedAtSeconds: number;
}

/** Says what blobs are worth; the greatest rank that a blob is given counts. */
export interface Ranking {
  /** An integer from 1 to 2^32 - 1. How many of them are not there. */
  rank(digests: Iterable<Digest>, rank: number): number;
  /** As the store's, but it is no use of the blobs: who walks a tree to rank it must not keep it alive. */
  readMany: Cas["readMany"];
}

/**
 * The side of a store that its keeper sees. **A blob that somebody was told of (found, written, read, part of a hit) is
 * not removed before it has been idle for the store's bound**, whatever the keeper asks for: so no check of his has to be
 * at the same moment as the removal. One keeper at a time.
 */
export interface CasKeeping {
  usage(): CasUsage;
  /** Begins a round: no blob has a rank. */
  beginRanking(): Ranking;
  /** All blobs that may be removed now, in slices between which the event loop has its turn. */
  idle(signal: AbortSignal): AsyncIterable<readonly IdleBlob[]>;
  /** Removes those of them that are idle still; resolves with what is gone, when that is on disk. */
  remove(digests: readonly Digest[]): Promise<{ readonly blobs: number; readonly bytes: number }>;
  /**
   * Wins back the room of removed blobs where no more than a share of a segment is used, and that of files that a killed
   * process left; resolves with how much the segments gave. Whatever it is killed in, no blob is lost.
   */
  compact(options: { readonly liveShareMax: number; readonly signal: AbortSignal }): Promise<number>;
}

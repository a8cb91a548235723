import type { Digest } from "../../../shared/digest.ts";

/** A cached result as its keeper sees it: what it owns, and when it was last of use. */
export interface CachedClosure {
  readonly action: Digest;
  /** Wall time, to the precision of `limits.lastUsePrecisionMs`: it may have been used since. */
  readonly usedAtMs: number;
  readonly closure: readonly Digest[];
}

/** The side of the action cache that its keeper sees. */
export interface ActionCacheKeeping {
  /** All entries, in pages; those that come meanwhile may be left out. */
  closures(signal: AbortSignal): AsyncIterable<CachedClosure>;
  /** Removes those that were last used before; resolves with how many. */
  removeUnused(beforeMs: number): Promise<number>;
  /** Removes entries, unless they were written again after the time. Resolves with how many. */
  remove(actions: readonly Digest[], writtenUntilMs: number): Promise<number>;
}

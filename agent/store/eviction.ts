import type { Digest, DigestKey } from "../../shared/digest.ts";
import { digestKey } from "../../shared/digest.ts";

/** A blob of the local store, with its executable variant where it has one. */
export interface StoredBlob {
  readonly digest: Digest;
  /** On disk, all variants together. */
  readonly bytes: number;
  /** Wall time. */
  readonly lastUseMs: number;
}

/** How much a local store may hold. */
export interface StoreBounds {
  /** Above this, blobs are evicted … */
  readonly highBytes: number;
  /** … until no more than this is left, so that not every new blob evicts an old one. */
  readonly lowBytes: number;
  /** The disk must have this much free, whoever fills it. */
  readonly freeBytesMin: number;
}

export interface StoreState {
  readonly blobs: Iterable<StoredBlob>;
  readonly storedBytes: number;
  /** Of the disk that holds the store. */
  readonly freeBytes: number;
  /** What running tasks are about to be given. */
  readonly pinned: ReadonlyMap<DigestKey, unknown>;
}

/** Bytes that must go; zero within the bounds. */
export function excessBytes(state: Pick<StoreState, "storedBytes" | "freeBytes">, bounds: StoreBounds): number {
  const overHigh = state.storedBytes > bounds.highBytes ? state.storedBytes - bounds.lowBytes : 0;
  // A quarter more than the floor, for the same reason as the low mark.
  const underFloor = state.freeBytes < bounds.freeBytesMin ? bounds.freeBytesMin * 1.25 - state.freeBytes : 0;
  return Math.max(overHigh, underFloor);
}

/**
 * Which named caches to evict, least recently used first. They go before any blob: a blob saves a fetch whose result is
 * the same, a cache only some work of a task. Pure.
 */
export function chooseCaches<Cache extends { readonly bytes: number; readonly lastUseMs: number }>(
  caches: Iterable<Cache>,
  state: Pick<StoreState, "storedBytes" | "freeBytes">,
  bounds: StoreBounds,
): Cache[] {
  let excess = excessBytes(state, bounds);
  const chosen: Cache[] = [];
  for (const cache of [...caches].sort((a, b) => a.lastUseMs - b.lastUseMs)) {
    if (excess <= 0) break;
    chosen.push(cache);
    excess -= cache.bytes;
  }
  return chosen;
}

/** What to evict, least recently used first: as much as brings the store within its bounds, and nothing that is pinned. Pure. */
export function chooseEvictions(state: StoreState, bounds: StoreBounds): StoredBlob[] {
  let excess = excessBytes(state, bounds);
  if (excess <= 0) return [];
  const oldestFirst = [...state.blobs].sort((a, b) => a.lastUseMs - b.lastUseMs);
  const chosen: StoredBlob[] = [];
  for (const blob of oldestFirst) {
    if (excess <= 0) break;
    if (state.pinned.has(digestKey(blob.digest))) continue;
    chosen.push(blob);
    excess -= blob.bytes;
  }
  return chosen;
}

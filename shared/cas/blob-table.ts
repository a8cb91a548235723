import type { Digest } from "../digest.ts";
import { limits } from "../limits.ts";

/** Where the disk store keeps a blob. */
export interface BlobLocation {
  /** The segment file, from 1 on; 0 means a file of its own. */
  readonly segment: number;
  /** In bytes from the segment's start. */
  readonly offset: number;
}

export interface PlacedBlob extends BlobLocation {
  readonly digest: Digest;
}

/** A blob as a walk finds it. */
export interface TableBlob extends PlacedBlob {
  readonly usedAtSeconds: number;
  readonly rank: number;
}

/** Where a walk stands. */
export interface TablePlace {
  readonly layout: number;
  readonly slot: number;
}

const empty = 0;
const occupied = 1;
const deleted = 2;
const wordsPerHash = 8;

/**
 * Digest → location, last use and rank, for millions of blobs: open addressing in typed arrays, about 110 bytes a blob
 * where a Map of strings takes 300. SHA-256 is uniform, so its first word is the hash of the table.
 */
export class BlobTable {
  #capacity = 1024;
  #size = 0;
  /** Occupied and deleted slots: both lengthen probes. */
  #filled = 0;
  #slots = allocate(1024);
  #unsaved: Digest[] = [];
  /** Grows when slots move. */
  #layouts = 0;
  readonly #scratch = Buffer.alloc(4 * wordsPerHash);
  readonly #words = new Int32Array(this.#scratch.buffer, this.#scratch.byteOffset, wordsPerHash);

  get size(): number {
    return this.#size;
  }

  get(digest: Digest): BlobLocation | undefined {
    const slot = this.#find(digest);
    if (slot < 0) return undefined;
    return { segment: this.#slots.segments[slot] ?? 0, offset: this.#slots.offsets[slot] ?? 0 };
  }

  has(digest: Digest): boolean {
    return this.#find(digest) >= 0;
  }

  /** @param usedAtSeconds the last use, and the one that is on disk */
  set(digest: Digest, location: BlobLocation, usedAtSeconds: number): void {
    let slot = this.#find(digest);
    if (slot < 0) {
      if ((this.#filled + 1) * 5 > this.#capacity * 3) this.#rehash();
      slot = this.#claim(digest);
    }
    this.#slots.segments[slot] = location.segment;
    this.#slots.offsets[slot] = location.offset;
    this.#slots.usedAt[slot] = usedAtSeconds;
    this.#slots.savedAt[slot] = usedAtSeconds;
  }

  /** Changes where a blob is and nothing else. */
  move(digest: Digest, location: BlobLocation): void {
    const slot = this.#find(digest);
    if (slot < 0) return;
    this.#slots.segments[slot] = location.segment;
    this.#slots.offsets[slot] = location.offset;
  }

  /** Notes a use, in seconds since 1970; whether the blob is there. */
  use(digest: Digest, nowSeconds: number): boolean {
    const slot = this.#find(digest);
    if (slot < 0) return false;
    const { usedAt, savedAt } = this.#slots;
    if (nowSeconds > (usedAt[slot] ?? 0)) usedAt[slot] = nowSeconds;
    if ((savedAt[slot] ?? 0) <= nowSeconds - limits.lastUsePrecisionMs / 1000) {
      savedAt[slot] = nowSeconds;
      this.#unsaved.push(digest);
    }
    return true;
  }

  /** Blobs whose use on disk is too old; from then on it counts as brought there. Each once an hour, so never many. */
  takeUnsaved(): Digest[] {
    return this.#unsaved.splice(0);
  }

  /** Their uses did not get to disk after all: the next use of each has to. */
  forgetSaved(digests: readonly Digest[]): void {
    for (const digest of digests) {
      const slot = this.#find(digest);
      if (slot >= 0) this.#slots.savedAt[slot] = 0;
    }
  }

  /** Last use in seconds since 1970; undefined when absent. */
  usedAt(digest: Digest): number | undefined {
    const slot = this.#find(digest);
    return slot < 0 ? undefined : this.#slots.usedAt[slot];
  }

  /** Raises the rank of a blob; what nobody ranked since `clearRanks` has 0. Whether the blob is there. */
  rank(digest: Digest, rank: number): boolean {
    const slot = this.#find(digest);
    if (slot >= 0) this.#slots.ranks[slot] = Math.max(rank, this.#slots.ranks[slot] ?? 0);
    return slot >= 0;
  }

  clearRanks(): void {
    this.#slots.ranks.fill(0);
  }

  /**
   * The blobs in the next slots from a place on; undefined at the end, or when slots have moved since the place was
   * given: then a walk begins anew. Some microseconds for each thousand of empty slots.
   */
  walk(place: TablePlace, slots: number): { readonly blobs: TableBlob[]; readonly next: TablePlace } | "moved" | "end" {
    if (place.layout !== this.#layouts) return "moved";
    if (place.slot >= this.#capacity) return "end";
    const blobs: TableBlob[] = [];
    const end = Math.min(this.#capacity, place.slot + slots);
    for (let slot = place.slot; slot < end; slot++)
      if (this.#slots.states[slot] === occupied) blobs.push(this.#blob(slot));
    return { blobs, next: { layout: place.layout, slot: end } };
  }

  start(): TablePlace {
    return { layout: this.#layouts, slot: 0 };
  }

  #blob(slot: number): TableBlob {
    const { hashes, sizes, segments, offsets, usedAt, ranks } = this.#slots;
    for (let word = 0; word < wordsPerHash; word++) this.#words[word] = hashes[slot * wordsPerHash + word] ?? 0;
    return {
      digest: { hash: this.#scratch.toString("hex"), sizeBytes: sizes[slot] ?? 0 },
      segment: segments[slot] ?? 0,
      offset: offsets[slot] ?? 0,
      usedAtSeconds: usedAt[slot] ?? 0,
      rank: ranks[slot] ?? 0,
    };
  }

  delete(digest: Digest): void {
    const slot = this.#find(digest);
    if (slot < 0) return;
    this.#slots.states[slot] = deleted;
    this.#size--;
  }

  /** The slot of a digest, or -1. Leaves its hash in `#words`. */
  #find(digest: Digest): number {
    this.#scratch.write(digest.hash, "hex");
    const mask = this.#capacity - 1;
    const { states, hashes, sizes } = this.#slots;
    for (let slot = (this.#words[0] ?? 0) & mask; ; slot = (slot + 1) & mask) {
      const state = states[slot];
      if (state === empty) return -1;
      if (state === occupied && sizes[slot] === digest.sizeBytes && this.#holds(hashes, slot)) return slot;
    }
  }

  #holds(hashes: Int32Array, slot: number): boolean {
    const start = slot * wordsPerHash;
    for (let word = 0; word < wordsPerHash; word++) if (hashes[start + word] !== this.#words[word]) return false;
    return true;
  }

  /** Takes a slot for the digest that `#find` has just not found. */
  #claim(digest: Digest): number {
    const slot = firstEmpty(this.#slots.states, this.#words[0] ?? 0, this.#capacity - 1);
    this.#slots.states[slot] = occupied;
    this.#slots.hashes.set(this.#words, slot * wordsPerHash);
    this.#slots.sizes[slot] = digest.sizeBytes;
    this.#slots.ranks[slot] = 0;
    this.#size++;
    this.#filled++;
    return slot;
  }

  /** Grows, or only drops deleted slots when those are many. */
  #rehash(): void {
    const old = this.#slots;
    this.#layouts++;
    const oldCapacity = this.#capacity;
    if (this.#size * 4 > oldCapacity) this.#capacity *= 2;
    this.#slots = allocate(this.#capacity);
    this.#filled = this.#size;
    for (let from = 0; from < oldCapacity; from++) {
      if (old.states[from] !== occupied) continue;
      const start = from * wordsPerHash;
      const to = firstEmpty(this.#slots.states, old.hashes[start] ?? 0, this.#capacity - 1);
      this.#slots.states[to] = occupied;
      this.#slots.hashes.set(old.hashes.subarray(start, start + wordsPerHash), to * wordsPerHash);
      this.#slots.sizes[to] = old.sizes[from] ?? 0;
      this.#slots.segments[to] = old.segments[from] ?? 0;
      this.#slots.offsets[to] = old.offsets[from] ?? 0;
      this.#slots.usedAt[to] = old.usedAt[from] ?? 0;
      this.#slots.savedAt[to] = old.savedAt[from] ?? 0;
      this.#slots.ranks[to] = old.ranks[from] ?? 0;
    }
  }
}

function allocate(capacity: number) {
  return {
    states: new Uint8Array(capacity),
    hashes: new Int32Array(capacity * wordsPerHash),
    sizes: new Float64Array(capacity),
    segments: new Uint32Array(capacity),
    offsets: new Uint32Array(capacity),
    usedAt: new Uint32Array(capacity),
    savedAt: new Uint32Array(capacity),
    ranks: new Uint32Array(capacity),
  };
}

function firstEmpty(states: Uint8Array, hash: number, mask: number): number {
  let slot = hash & mask;
  while (states[slot] !== empty) slot = (slot + 1) & mask;
  return slot;
}

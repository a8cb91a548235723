import { type DigestKey, digestKey, emptyDigest } from "../digest.ts";
import type { Cas } from "./cas.ts";
import { checkBlob, checkedSource, collect, slices } from "./checked-source.ts";
import { distinct, isEmptyBlob } from "./distinct.ts";
import { noSuchBlob, rangeOf } from "./read-range.ts";
import type { Quarantine } from "./verifying-cas.ts";

/** A store in memory, for tests and for short-lived work. Unbounded: its maker bounds what goes in. */
export function memoryCas(): Cas & { readonly quarantine: Quarantine } {
  const blobs = new Map<DigestKey, Uint8Array>([[digestKey(emptyDigest), new Uint8Array()]]);
  return {
    async findMissing(digests, signal) {
      signal?.throwIfAborted();
      return distinct(digests).filter((digest) => !blobs.has(digestKey(digest)));
    },
    async *read(digest, range, signal) {
      signal?.throwIfAborted();
      const data = blobs.get(digestKey(digest));
      if (data === undefined) throw noSuchBlob(digest);
      const { start, end } = rangeOf(digest, range);
      for (const chunk of slices(data.subarray(start, end))) {
        signal?.throwIfAborted();
        yield new Uint8Array(chunk);
      }
    },
    async write(digest, source, signal) {
      signal?.throwIfAborted();
      if (blobs.has(digestKey(digest))) return;
      blobs.set(digestKey(digest), await collect(checkedSource(digest, source, signal), digest.sizeBytes));
    },
    async readMany(digests, signal) {
      signal?.throwIfAborted();
      const found = new Map<DigestKey, Uint8Array>();
      for (const digest of digests) {
        const data = blobs.get(digestKey(digest));
        if (data !== undefined) found.set(digestKey(digest), new Uint8Array(data));
      }
      return found;
    },
    async writeMany(many, signal) {
      signal?.throwIfAborted();
      for (const blob of many) checkBlob(blob);
      for (const { digest, data } of many) blobs.set(digestKey(digest), new Uint8Array(data));
    },
    async quarantine(digest) {
      if (!isEmptyBlob(digest)) blobs.delete(digestKey(digest));
    },
  };
}

import { type Digest, digestEquals, digestKey, emptyDigest } from "../digest.ts";

/** Each digest once, in the order of their first mention. */
export function distinct(digests: Iterable<Digest>): Digest[] {
  const byKey = new Map<string, Digest>();
  for (const digest of digests) {
    const key = digestKey(digest);
    if (!byKey.has(key)) byKey.set(key, digest);
  }
  return [...byKey.values()];
}

/** Whether this is the blob that needs no storing. */
export function isEmptyBlob(digest: Digest): boolean {
  return digestEquals(digest, emptyDigest);
}

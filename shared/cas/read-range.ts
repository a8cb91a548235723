import { type Digest, digestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import type { ReadRange } from "./cas.ts";

/**
 * The bytes that a read asks for: from `start` up to but not including `end`.
 * @throws MillraceError out_of_range when the offset lies outside the blob.
 */
export function rangeOf(digest: Digest, range: ReadRange = {}): { readonly start: number; readonly end: number } {
  const { offset = 0, limit = digest.sizeBytes } = range;
  if (offset < 0 || offset > digest.sizeBytes) {
    throw new MillraceError("out_of_range", `blob ${digestKey(digest)} has no byte ${offset}`);
  }
  if (limit < 0) throw new MillraceError("out_of_range", `blob ${digestKey(digest)}: a limit of ${limit} bytes`);
  return { start: offset, end: Math.min(digest.sizeBytes, offset + limit) };
}

/** The error of reading a blob that is not there. */
export function noSuchBlob(digest: Digest): MillraceError {
  return new MillraceError("not_found", `blob ${digestKey(digest)} is not in the store`);
}

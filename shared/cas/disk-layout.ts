import type { Digest } from "../digest.ts";

// Where the disk store keeps things below its folder, for the store itself and for who copies it.

/** Of packed small blobs. */
export const segmentFolder = "segments";

/** In the folder of segments. */
export function segmentName(number: number): string {
  return `${String(number).padStart(8, "0")}.seg`;
}

/** Of blobs that are not packed. */
export const blobFolder = "blobs";

/** The file of a blob that is not packed. */
export function blobFile({ hash, sizeBytes }: Digest): string {
  return `${blobFolder}/${hash.slice(0, 2)}/${hash}-${sizeBytes}`;
}

import { createHash } from "node:crypto";
import type { Blob, Cas } from "../../shared/cas/cas.ts";
import { digestOf } from "../../shared/digest.ts";
import { limits } from "../../shared/limits.ts";

/** A blob of a text. */
export function textBlob(text: string): Blob {
  return blobOf(new TextEncoder().encode(text));
}

export function blobOf(data: Uint8Array): Blob {
  return { digest: digestOf(data), data };
}

/** The n-th of a row of blobs of many sizes; every twentieth is too large to be packed with others. */
export function numberedBlob(n: number): Blob {
  return blobOf(noise(n % 20 === 0 ? limits.smallBlobBytes + 1 + n : 100 + ((n * 997) % 20_000), `blob ${n}`));
}

/** Bytes that no compression or repetition helps with, the same for the same seed. */
export function noise(sizeBytes: number, seed = "noise"): Uint8Array {
  return new Uint8Array(createHash("shake256", { outputLength: sizeBytes }).update(seed).digest());
}

/** Hands out data in pieces. */
export async function* pieces(data: Uint8Array, pieceBytes = 100_000): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < data.byteLength; start += pieceBytes) yield data.subarray(start, start + pieceBytes);
}

export async function bytesOf(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of source) chunks.push(new Uint8Array(chunk));
  return new Uint8Array(Buffer.concat(chunks));
}

/** Stores blobs and gives their digests. */
export async function store(cas: Cas, ...blobs: Blob[]) {
  await cas.writeMany(blobs);
  return blobs.map((blob) => blob.digest);
}

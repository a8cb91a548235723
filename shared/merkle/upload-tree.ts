import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { batches } from "../cas/batches.ts";
import type { Blob, Cas } from "../cas/cas.ts";
import { inParallel } from "../cas/in-parallel.ts";
import { type Digest, type DigestKey, digestEquals, digestKey, digestOf, parseDigestKey } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Snapshot } from "./scan.ts";

/** What was absent and is sent. */
export interface Uploaded {
  readonly blobs: number;
  readonly bytes: number;
}

export interface UploadProgress {
  readonly sent: Uploaded;
  readonly total: Uploaded;
}

export interface UploadOptions {
  readonly signal?: AbortSignal;
  /** Blobs that the store is not asked about: who reads the tree then must cope with their absence. */
  readonly assumed?: ReadonlySet<DigestKey>;
  /** Called after each batch and each large file. */
  readonly onProgress?: (progress: UploadProgress) => void;
}

/**
 * Stores all that the snapshot names and the store lacks: one FindMissing, small blobs in batches, large ones as streams.
 * @throws MillraceError aborted when a file has changed or vanished since the scan: scan again.
 */
export async function uploadSnapshot(
  cas: Pick<Cas, "findMissing" | "write" | "writeMany">,
  snapshot: Snapshot,
  { signal, assumed, onProgress }: UploadOptions = {},
): Promise<Uploaded> {
  const { directories } = snapshot.tree;
  const all = [...directories.keys(), ...snapshot.files.keys()]
    .filter((key) => assumed?.has(key) !== true)
    .map(parseDigestKey);
  const missing = await cas.findMissing(all, signal);
  const total = { blobs: missing.length, bytes: missing.reduce((sum, digest) => sum + digest.sizeBytes, 0) };
  const sent = { blobs: 0, bytes: 0 };

  const inMemory = (digest: Digest) => directories.get(digestKey(digest));
  const pathOf = (digest: Digest): string => {
    const path = snapshot.files.get(digestKey(digest));
    if (path === undefined)
      throw new MillraceError("internal", `the snapshot does not say where ${digestKey(digest)} is`);
    return path;
  };
  const isSmall = (digest: Digest) => digest.sizeBytes <= limits.smallBlobBytes || inMemory(digest) !== undefined;

  async function send(digests: readonly Digest[], inner: AbortSignal): Promise<void> {
    const [first] = digests;
    if (first !== undefined && !isSmall(first)) {
      await sendLarge(cas, pathOf(first), first, inner);
    } else {
      const blobs: Blob[] = [];
      for (const digest of digests) blobs.push(inMemory(digest) ?? (await readSmall(pathOf(digest), digest, inner)));
      await cas.writeMany(blobs, inner);
    }
    sent.blobs += digests.length;
    sent.bytes += digests.reduce((sum, digest) => sum + digest.sizeBytes, 0);
    onProgress?.({ sent: { ...sent }, total });
  }

  const small = batches(missing.filter(isSmall), (digest) => digest, limits.batchAdvertisedBytes);
  const large = missing.filter((digest) => !isSmall(digest)).map((digest) => [digest]);
  await inParallel([...small, ...large], send, signal);
  return total;
}

async function sendLarge(cas: Pick<Cas, "write">, path: string, digest: Digest, signal: AbortSignal): Promise<void> {
  try {
    await cas.write(digest, createReadStream(path, { highWaterMark: limits.streamChunkBytes, signal }), signal);
  } catch (error) {
    // How a store says that these are not the bytes of the digest.
    throw from(error).code === "invalid_argument" ? changed(path) : unreadable(path, error);
  }
}

async function readSmall(path: string, digest: Digest, signal: AbortSignal): Promise<Blob> {
  const data = await readFile(path, { signal }).catch((error: unknown) => {
    throw unreadable(path, error);
  });
  if (!digestEquals(digestOf(data), digest)) throw changed(path);
  return { digest, data };
}

function changed(path: string): MillraceError {
  return new MillraceError("aborted", `${path} has changed since it was scanned; let its writer finish and try again`);
}

function unreadable(path: string, error: unknown): MillraceError {
  const failure = from(error, `uploading ${path}`);
  if (failure.code !== "not_found") return failure;
  return new MillraceError("aborted", `${path} has vanished since it was scanned; try again`, { cause: error });
}

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { RetryInfoSchema } from "../../proto/gen/google/rpc/error_details_pb.ts";
import type { Digest } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { formatBytes } from "../format-bytes.ts";
import { limits } from "../limits.ts";
import type { Cas } from "./cas.ts";

export interface BoundedOptions {
  /** What the store may take on disk. */
  readonly bytesMax: number;
  /** What it takes now. */
  readonly bytes: () => number;
  /** Tries to make room for so many bytes; resolves when it has, or when there is no more to be had now. */
  readonly makeRoom: (bytes: number) => Promise<void>;
  /** Told after each write, so that room is made before somebody has to wait for it. */
  readonly onWritten: () => void;
}

/**
 * Refuses what would make the store larger than it may be, when nothing in it may go: what others were told to be there
 * is worth more than what is not there yet. A client that gets `resource_exhausted` with a RetryInfo comes back later.
 * What is there already is no question of room.
 */
export function boundedCas(base: Cas, { bytesMax, bytes, makeRoom, onWritten }: BoundedOptions): Cas {
  /** Of writes that are under way. */
  let reserved = 0;

  async function reserve(sizeBytes: number): Promise<void> {
    const fits = (): boolean => bytes() + reserved + sizeBytes <= bytesMax;
    if (sizeBytes > bytesMax) throw tooLarge(sizeBytes, bytesMax);
    if (!fits()) await makeRoom(reserved + sizeBytes);
    if (!fits()) throw noRoom(sizeBytes, bytes(), bytesMax);
    reserved += sizeBytes;
  }

  async function withRoom(digests: readonly Digest[], signal: AbortSignal | undefined, write: () => Promise<void>) {
    if (bytesMax === Number.POSITIVE_INFINITY) return await write();
    const missing = await base.findMissing(digests, signal);
    const sizeBytes = missing.reduce((sum, digest) => sum + digest.sizeBytes, 0);
    if (sizeBytes > 0) await reserve(sizeBytes);
    try {
      await write();
    } finally {
      reserved -= sizeBytes;
    }
  }

  return {
    ...base,
    async write(digest, source, signal) {
      await withRoom([digest], signal, () => base.write(digest, source, signal));
      onWritten();
    },
    async writeMany(blobs, signal) {
      const digests = blobs.map(({ digest }) => digest);
      await withRoom(digests, signal, () => base.writeMany(blobs, signal));
      onWritten();
    },
  };
}

function tooLarge(sizeBytes: number, bytesMax: number): MillraceError {
  return new MillraceError(
    "resource_exhausted",
    `no room for ${formatBytes(sizeBytes)}: the coordinator's store may hold ${formatBytes(bytesMax)} in all; let it be ` +
      "larger with --cas-max-bytes",
  );
}

function noRoom(sizeBytes: number, bytes: number, bytesMax: number): MillraceError {
  const retryDelay = durationFromMs(limits.casRetryMs);
  return new MillraceError(
    "resource_exhausted",
    `no room for ${formatBytes(sizeBytes)}: the coordinator's store holds ${formatBytes(bytes)} of ${formatBytes(bytesMax)}, ` +
      "all of it in use or promised; try again later, or let it be larger with --cas-max-bytes",
    { details: [{ desc: RetryInfoSchema, value: { retryDelay } }] },
  );
}

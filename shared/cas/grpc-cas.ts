import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import { ContentAddressableStorage } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import type { Status } from "../../proto/gen/google/rpc/status_pb.ts";
import { type Digest, type DigestKey, digestFromMessage, digestKey, digestToMessage } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { readName, writeName } from "../rpc/resource-name.ts";
import { batches } from "./batches.ts";
import type { Blob, Cas } from "./cas.ts";
import { collect, slices } from "./checked-source.ts";
import { distinct, isEmptyBlob } from "./distinct.ts";
import { inParallel } from "./in-parallel.ts";
import { rangeOf } from "./read-range.ts";

export interface GrpcCasOptions {
  readonly transport: Transport;
  /** Default: the empty name. */
  readonly instanceName?: string;
}

/**
 * A store on the other side of REAPI: the coordinator's for agents and the command line. Small blobs travel in batches,
 * large ones as byte streams. Nothing is held between calls; the transport stays its owner's.
 */
export function grpcCas({ transport, instanceName = "" }: GrpcCasOptions): Cas {
  const store = createClient(ContentAddressableStorage, transport);
  const streams = createClient(ByteStream, transport);

  async function findMissing(digests: readonly Digest[], signal?: AbortSignal): Promise<Digest[]> {
    const asked = distinct(digests).filter((digest) => !isEmptyBlob(digest));
    const missing: Digest[] = [];
    for (let start = 0; start < asked.length; start += limits.findMissingSlice) {
      const blobDigests = asked.slice(start, start + limits.findMissingSlice).map(digestToMessage);
      const answer = await calling("asking which blobs are missing", () =>
        store.findMissingBlobs({ instanceName, blobDigests }, signal === undefined ? {} : { signal }),
      );
      for (const digest of answer.missingBlobDigests) missing.push(digestFromMessage(digest, "a missing digest"));
    }
    return missing;
  }

  async function* read(...[digest, range, signal]: Parameters<Cas["read"]>): AsyncGenerator<Uint8Array> {
    const { start, end } = rangeOf(digest, range);
    signal?.throwIfAborted();
    if (isEmptyBlob(digest)) return;
    // The store is asked even for no bytes at all: whether the blob is there is part of the answer.
    const left = new AbortController();
    const inner = signal === undefined ? left.signal : AbortSignal.any([left.signal, signal]);
    let position = start;
    try {
      const answers = streams.read(
        { resourceName: readName(digest, instanceName), readOffset: BigInt(start), readLimit: BigInt(end - start) },
        { signal: inner },
      );
      for await (const { data } of answers) {
        for (const chunk of slices(data.subarray(0, end - position))) {
          position += chunk.byteLength;
          yield chunk;
        }
      }
    } catch (error) {
      throw from(error, `reading blob ${digestKey(digest)}`);
    } finally {
      left.abort(); // a reader that leaves early must not leave the server's side open
    }
    if (position !== end) {
      throw new MillraceError("data_loss", `reading blob ${digestKey(digest)}: the stream ended at byte ${position}`);
    }
  }

  async function write(digest: Digest, source: AsyncIterable<Uint8Array>, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    if (isEmptyBlob(digest)) return;
    const stopped = new AbortController();
    const inner = signal === undefined ? stopped.signal : AbortSignal.any([stopped.signal, signal]);
    let sourceFailure: unknown;
    const resourceName = writeName(digest, randomUUID(), instanceName);
    async function* messages() {
      try {
        yield* writeRequests(resourceName, digest, source);
      } catch (error) {
        sourceFailure = error;
        stopped.abort(error);
        throw error;
      }
    }
    await calling(`writing blob ${digestKey(digest)}`, async () => {
      const { committedSize } = await streams.write(messages(), { signal: inner }).catch((error: unknown) => {
        throw sourceFailure ?? error;
      });
      if (committedSize !== BigInt(digest.sizeBytes)) {
        throw new MillraceError("data_loss", `the store committed ${committedSize} of ${digest.sizeBytes} bytes`);
      }
    });
  }

  async function readBatch(batch: readonly Digest[], found: Map<DigestKey, Uint8Array>, signal: AbortSignal) {
    const { responses } = await calling(`reading ${batch.length} blobs`, () =>
      store.batchReadBlobs({ instanceName, digests: batch.map(digestToMessage) }, { signal }),
    );
    for (const { digest: message, data, status } of responses) {
      const digest = digestFromMessage(message, "the digest of an answer");
      if ((status?.code ?? 0) === Code.NotFound) continue;
      checkStatus(digest, status, "reading");
      if (data.byteLength !== digest.sizeBytes) {
        throw new MillraceError("data_loss", `reading blob ${digestKey(digest)}: ${data.byteLength} bytes came`);
      }
      found.set(digestKey(digest), new Uint8Array(data)); // a copy: a view would keep the whole message alive
    }
  }

  async function writeBatch(batch: readonly Blob[], signal: AbortSignal): Promise<void> {
    const requests = batch.map(({ digest, data }) => ({ digest: digestToMessage(digest), data }));
    const { responses } = await calling(`writing ${batch.length} blobs`, () =>
      store.batchUpdateBlobs({ instanceName, requests }, { signal }),
    );
    for (const { digest, status } of responses) checkStatus(digestFromMessage(digest), status, "writing");
    if (responses.length !== batch.length) {
      throw new MillraceError("internal", `writing ${batch.length} blobs: the store answered for ${responses.length}`);
    }
  }

  async function readLarge(digest: Digest, found: Map<DigestKey, Uint8Array>, signal: AbortSignal): Promise<void> {
    try {
      found.set(digestKey(digest), await collect(read(digest, {}, signal), digest.sizeBytes));
    } catch (error) {
      if (from(error).code !== "not_found") throw error;
    }
  }

  return {
    findMissing,
    read,
    write,
    async readMany(digests, signal) {
      const found = new Map<DigestKey, Uint8Array>();
      const asked = distinct(digests);
      for (const digest of asked.filter(isEmptyBlob)) found.set(digestKey(digest), new Uint8Array());
      const stored = asked.filter((digest) => !isEmptyBlob(digest));
      await inParallel(
        batches(stored, (digest) => digest, limits.batchAdvertisedBytes),
        async (batch, inner) => {
          const [first] = batch;
          if (first !== undefined && isLarge(first)) await readLarge(first, found, inner);
          else await readBatch(batch, found, inner);
        },
        signal,
      );
      return found;
    },
    async writeMany(blobs, signal) {
      const stored = blobs.filter(({ digest }) => !isEmptyBlob(digest));
      await inParallel(
        batches(stored, (blob) => blob.digest, limits.batchAdvertisedBytes),
        async (batch, inner) => {
          const [first] = batch;
          if (first !== undefined && isLarge(first.digest))
            await write(first.digest, Readable.from([first.data]), inner);
          else await writeBatch(batch, inner);
        },
        signal,
      );
    },
  };
}

/** Too large for any batch, so that it is alone in its own. */
function isLarge(digest: Digest): boolean {
  return digest.sizeBytes > limits.batchAdvertisedBytes;
}

/** One piece is held back: the last message commits, so it must not go before the source is known to be complete. */
async function* writeRequests(resourceName: string, digest: Digest, source: AsyncIterable<Uint8Array>) {
  let held: Uint8Array | undefined;
  let offset = 0;
  const request = (data: Uint8Array, finishWrite: boolean) => {
    const message = { resourceName: offset === 0 ? resourceName : "", writeOffset: BigInt(offset), data, finishWrite };
    offset += data.byteLength;
    return message;
  };
  for await (const chunk of source) {
    for (const piece of slices(chunk)) {
      if (held !== undefined) yield request(held, false);
      held = piece;
      if (offset + held.byteLength > digest.sizeBytes) throw wrongSize(digest, `more than ${digest.sizeBytes}`);
    }
  }
  const sizeBytes = offset + (held?.byteLength ?? 0);
  if (held === undefined || sizeBytes !== digest.sizeBytes) throw wrongSize(digest, String(sizeBytes));
  yield request(held, true);
}

function wrongSize(digest: Digest, sizeBytes: string): MillraceError {
  return new MillraceError("invalid_argument", `blob ${digestKey(digest)}: the source gives ${sizeBytes} bytes`);
}

function checkStatus(digest: Digest, status: Status | undefined, doing: string): void {
  if (status === undefined || status.code === 0) return;
  throw from(new ConnectError(status.message, status.code), `${doing} blob ${digestKey(digest)}`);
}

async function calling<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw from(error, doing);
  }
}

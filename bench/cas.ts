import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Blob, Cas } from "../shared/cas/cas.ts";
import { diskCasSchema, openDiskCas } from "../shared/cas/disk-cas.ts";
import { writeNewFile } from "../shared/cas/files.ts";
import { verifyingCas } from "../shared/cas/verifying-cas.ts";
import { type Digest, digestOf, hasher } from "../shared/digest.ts";
import { limits } from "../shared/limits.ts";
import { openSqlite } from "../shared/sqlite/open.ts";
import { type Figure, type Measured, timed } from "./bench.ts";

/** Of the coordinator's store, without the wire. Rates are of one run. */
export interface CasFigures {
  readonly smallBlobs: number;
  readonly writesPerSecond: number;
  readonly readsPerSecond: number;
  readonly findMissingMs: number;
  readonly openMs: number;
  readonly largeBytes: number;
  readonly largeWriteMebibytesPerSecond: number;
  readonly largeReadMebibytesPerSecond: number;
}

export interface CasBenchOptions {
  readonly smallBlobs?: number;
  readonly largeBytes?: number;
}

/** The figures of three runs of the store alone, against the targets of the store over the wire. */
export async function cas(): Promise<Measured> {
  const runs: CasFigures[] = [];
  for (let run = 0; run < 3; run += 1) runs.push(await casBench());
  const figure = (name: string, unit: string, key: keyof CasFigures, target: string): Figure => ({
    name,
    unit,
    samples: runs.map((figures) => figures[key]),
    target,
  });
  const figures = [
    figure("100k blobs of 1-4 KiB written", "blobs/s", "writesPerSecond", ">= 20000"),
    figure("the same read and verified", "blobs/s", "readsPerSecond", ">= 20000"),
    figure("FindMissing of 100k", "ms", "findMissingMs", "<= 400"),
    figure("opened again", "ms", "openMs", ""),
    figure("1 GiB written", "MiB/s", "largeWriteMebibytesPerSecond", ">= 300"),
    figure("1 GiB read and verified", "MiB/s", "largeReadMebibytesPerSecond", ">= 350"),
  ];
  return { figures };
}

/**
 * Writes, finds and reads back many blobs of 1 to 4 KiB and one large one, in a fresh store on the disk of the temporary
 * directory, verified on the way out. Hashing the small blobs beforehand is not counted; the large file is hashed first too.
 */
export async function casBench({
  smallBlobs = 100_000,
  largeBytes = 1024 * 1024 * 1024,
}: CasBenchOptions = {}): Promise<CasFigures> {
  const dir = await mkdtemp(join(tmpdir(), "millrace-bench-"));
  const database = join(dir, "cas.sqlite");
  const openStore = async () => {
    const sqlite = await openSqlite({ path: database, schema: [diskCasSchema] });
    const disk = await openDiskCas({ dir: join(dir, "cas"), sqlite });
    const onCorrupt = (): never => {
      throw new Error("the store gave wrong bytes");
    };
    const cas = verifyingCas(disk, { quarantine: disk.quarantine, onCorrupt });
    return { cas, close: () => disk.close().then(() => sqlite.close()) };
  };
  try {
    const first = await openStore();
    const blobs = Array.from({ length: smallBlobs }, (_, n) => smallBlob(n));
    const digests = blobs.map((blob) => blob.digest);
    const writeMs = await timed(() => inBatches(blobs, (batch) => first.cas.writeMany(batch)));
    const findMissingMs = await timed(() => first.cas.findMissing(digests));
    const readMs = await timed(() => inBatches(digests, (batch) => first.cas.readMany(batch)));
    const large = await largeFigures(first.cas, join(dir, "large"), largeBytes);
    await first.close();
    let second: Awaited<ReturnType<typeof openStore>> | undefined;
    const openMs = await timed(async () => {
      second = await openStore();
    });
    await second?.close();
    return {
      smallBlobs,
      writesPerSecond: Math.round((smallBlobs / writeMs) * 1000),
      readsPerSecond: Math.round((smallBlobs / readMs) * 1000),
      findMissingMs: Math.round(findMissingMs),
      openMs: Math.round(openMs),
      ...large,
    };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function largeFigures(cas: Cas, path: string, largeBytes: number) {
  const hash = hasher();
  async function* content() {
    const chunk = Buffer.alloc(limits.streamChunkBytes);
    for (let written = 0; written < largeBytes; written += chunk.byteLength) {
      chunk.writeUInt32LE(written / chunk.byteLength, 0);
      const piece = chunk.subarray(0, Math.min(chunk.byteLength, largeBytes - written));
      hash.update(piece);
      yield piece;
    }
  }
  await writeNewFile(path, content(), { durable: true });
  const digest = hash.digest();
  const source = createReadStream(path, { highWaterMark: limits.streamChunkBytes });
  const writeMs = await timed(() => cas.write(digest, source));
  const readMs = await timed(() => drain(cas, digest));
  const rate = (ms: number) => Math.round((largeBytes / 1024 / 1024 / ms) * 1000);
  return { largeBytes, largeWriteMebibytesPerSecond: rate(writeMs), largeReadMebibytesPerSecond: rate(readMs) };
}

function smallBlob(n: number): Blob {
  const data = Buffer.alloc(1024 + ((n * 37) % 3072), n % 251);
  data.writeUInt32LE(n, 0);
  return { digest: digestOf(data), data };
}

/** As clients do: batches of about 4 MiB, four at a time. */
async function inBatches<Item>(items: readonly Item[], send: (batch: Item[]) => Promise<unknown>): Promise<void> {
  const size = 1_600;
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const start = next;
      next += size;
      await send(items.slice(start, start + size));
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

async function drain(cas: Cas, digest: Digest): Promise<void> {
  let bytes = 0;
  for await (const chunk of cas.read(digest)) bytes += chunk.byteLength;
  if (bytes !== digest.sizeBytes) throw new Error(`${bytes} of ${digest.sizeBytes} bytes came back`);
}

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream, rmSync } from "node:fs";
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Blob, Cas } from "../shared/cas/cas.ts";
import { writeNewFile } from "../shared/cas/files.ts";
import { grpcCas } from "../shared/cas/grpc-cas.ts";
import { verifyingCas } from "../shared/cas/verifying-cas.ts";
import { type Digest, digestOf, hasher } from "../shared/digest.ts";
import { limits } from "../shared/limits.ts";
import { type Figure, type Measured, must, timed } from "./bench.ts";
import { withFarm } from "./bench-farm.ts";
import { runProgram } from "./run-program.ts";

const runs = 3;
const smallBlobs = 100_000;
const largeBytes = 1024 * 1024 * 1024;

/**
 * The coordinator's store as clients see it, over gRPC on loopback: client and coordinator share this machine. Blobs are
 * distinct in each run. The large one comes from a file and goes to a file, durably, and is hashed on both sides on the
 * way; small ones come from memory, already hashed. `node:http` does the same without any check, as the peer.
 */
export async function casWire(): Promise<Measured> {
  return withFarm({ agents: 0 }, async (farm) => {
    const onCorrupt = (): never => {
      throw new Error("the store gave wrong bytes");
    };
    const cas = verifyingCas(grpcCas({ transport: farm.transport }), { quarantine: async () => {}, onCorrupt });
    const peer = await startHttpPeer(farm.scratch);
    const rates: Record<string, number[]> = {};
    const keep = (name: string, value: number) => (rates[name] ??= []).push(value);
    try {
      for (let run = 0; run < runs; run += 1) {
        const small = await smallFigures(cas, run);
        for (const [name, value] of Object.entries(small)) keep(name, value);
        const source = join(farm.scratch, `large-${run}`);
        const digest = await writeLarge(source, run);
        const chunks = () => createReadStream(source, { highWaterMark: limits.streamChunkBytes });
        keep("up", mibPerSecond(await timed(() => cas.write(digest, chunks()))));
        const copy = join(farm.scratch, `copy-${run}`);
        keep("down", mibPerSecond(await timed(() => writeNewFile(copy, cas.read(digest), { durable: true }))));
        keep("put", mibPerSecond(await timed(() => put(peer.port, chunks()))));
        keep("get", mibPerSecond(await timed(() => get(peer.port, `${copy}-http`))));
        keep("sum", mibPerSecond(await timed(() => runProgram("sha256sum", [copy], { cwd: farm.scratch }))));
        for (const file of [source, copy, `${copy}-http`]) rmSync(file);
      }
    } finally {
      peer.child.kill();
    }
    const figure = (name: string, unit: string, key: string, target: string, note?: string): Figure => ({
      ...{ name, unit, samples: rates[key] ?? [], target },
      ...(note === undefined ? {} : { note }),
    });
    return {
      figures: [
        figure("1 GiB up, from a file", "MiB/s", "up", ">= 300"),
        figure("1 GiB down, verified, to a file", "MiB/s", "down", ">= 350"),
        figure("peer: node:http PUT to a file", "MiB/s", "put", "", "no check of the bytes"),
        figure("peer: node:http GET to a file", "MiB/s", "get", "", "no check of the bytes"),
        figure("peer: sha256sum of the file", "MiB/s", "sum", "", "reads and hashes alone"),
        figure(`${smallBlobs} blobs of 1-4 KiB up`, "blobs/s", "writes", ">= 20000"),
        figure("the same down, verified", "blobs/s", "reads", ">= 20000"),
        figure(`FindMissing of ${smallBlobs}, all there`, "ms", "findMissing", "<= 400"),
      ],
    };
  });
}

async function smallFigures(cas: Cas, run: number): Promise<Record<"writes" | "reads" | "findMissing", number>> {
  const blobs = Array.from({ length: smallBlobs }, (_, n) => smallBlob(run, n));
  const digests = blobs.map(({ digest }) => digest);
  const writeMs = await timed(() => inBatches(blobs, (batch) => cas.writeMany(batch)));
  let missing: readonly Digest[] = digests;
  const findMissing = await timed(async () => {
    missing = await cas.findMissing(digests);
  });
  must(missing.length === 0, `${missing.length} of the blobs that were written are missing`);
  let found = 0;
  const readMs = await timed(() =>
    inBatches(digests, async (batch) => {
      found += (await cas.readMany(batch)).size;
    }),
  );
  must(found === smallBlobs, `${found} of ${smallBlobs} blobs came back`);
  return { writes: (smallBlobs / writeMs) * 1000, reads: (smallBlobs / readMs) * 1000, findMissing };
}

function smallBlob(run: number, n: number): Blob {
  const data = Buffer.alloc(1024 + ((n * 37) % 3072), n % 251);
  data.writeUInt32LE(n, 0);
  data.writeUInt32LE(run, 4);
  return { digest: digestOf(data), data };
}

/** A few thousand at a time, so that memory stays bounded; the store splits them into messages. */
async function inBatches<Item>(items: readonly Item[], send: (batch: Item[]) => Promise<unknown>): Promise<void> {
  const size = 12_500;
  for (let start = 0; start < items.length; start += size) await send(items.slice(start, start + size));
}

async function writeLarge(path: string, run: number): Promise<Digest> {
  const hash = hasher();
  async function* content() {
    const chunk = Buffer.alloc(limits.streamChunkBytes, run);
    for (let written = 0; written < largeBytes; written += chunk.byteLength) {
      chunk.writeUInt32LE(written / chunk.byteLength, 0);
      hash.update(chunk);
      yield chunk;
    }
  }
  await writeNewFile(path, content(), { durable: true });
  return hash.digest();
}

function mibPerSecond(ms: number): number {
  return (largeBytes / 1024 / 1024 / ms) * 1000;
}

/** A server in a process of its own that keeps one file. */
async function startHttpPeer(dir: string): Promise<{ child: ChildProcess; port: number }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, "peers/http-server.mjs"), join(dir, "http")], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines = createInterface({ input: child.stdout });
  const [port] = (await once(lines, "line")) as [string];
  return { child, port: Number(port) };
}

async function put(port: number, source: Readable): Promise<void> {
  const response = await exchange({ port, method: "PUT" }, source);
  response.resume();
  must(response.statusCode === 201, `PUT was answered ${response.statusCode}`);
}

async function get(port: number, path: string): Promise<void> {
  const response = await exchange({ port, method: "GET" }, Readable.from([]));
  const file = createWriteStream(path, { highWaterMark: limits.streamChunkBytes, flush: true });
  await pipeline(response, file);
  must(file.bytesWritten === largeBytes, `GET gave ${file.bytesWritten} bytes`);
}

async function exchange(options: RequestOptions, body: Readable): Promise<IncomingMessage> {
  const call = request({ host: "127.0.0.1", path: "/blob", ...options });
  const answered = once(call, "response") as Promise<[IncomingMessage]>;
  await pipeline(body, call);
  const [response] = await answered;
  return response;
}

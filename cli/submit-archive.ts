import { createReadStream, statSync } from "node:fs";
import { PassThrough, type Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RunRequestSchema, SubmitRunArchiveRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import { limits } from "../shared/limits.ts";
import { askAgain } from "./ask-again.ts";
import type { Connection } from "./connection.ts";
import { unreadableFile } from "./named-file.ts";
import type { Console } from "./output/console.ts";

export interface SubmitArchiveOptions {
  /** A tar, plain or packed by gzip or zstd; `-` is standard input. */
  readonly file: string;
  readonly run: MessageInitShape<typeof RunRequestSchema>;
  readonly signal: AbortSignal;
  /** Where an outage is told; nowhere without it. */
  readonly console?: Console;
}

type Message = MessageInitShape<typeof SubmitRunArchiveRequestSchema>;

/**
 * Sends a tar and starts a run of what is in it; gives the run's name. How it is packed is seen by its first bytes. When the
 * coordinator goes away meanwhile and comes back, it is sent once more, and by the request's idempotency key there is one
 * run. Standard input and other pipes can be read only once.
 */
export async function submitArchive(
  connection: Pick<Connection, "runs" | "transport">,
  { file, run, signal, console }: SubmitArchiveOptions,
): Promise<string> {
  const isRepeatable = () => file !== "-" && statSync(file, { throwIfNoEntry: false })?.isFile() === true;
  const ask = (attempt: AbortSignal) => sendArchive(connection, { file, run, signal: attempt });
  return await askAgain(connection, ask, { signal, console, isRepeatable });
}

async function sendArchive(
  { runs }: Pick<Connection, "runs">,
  { file, run, signal }: Omit<SubmitArchiveOptions, "console">,
): Promise<string> {
  const packed = file === "-" ? process.stdin : createReadStream(file, { highWaterMark: limits.streamChunkBytes });
  /** Why the tar could not be read: to the coordinator it only looks cut off. */
  let failure: unknown;
  async function* messages(): AsyncGenerator<Message> {
    yield { part: { case: "start", value: run } };
    let totalBytes = 0;
    try {
      for await (const chunk of unpacked(packed, signal)) {
        for (let at = 0; at < chunk.length; at += limits.streamChunkBytes) {
          const value = chunk.subarray(at, at + limits.streamChunkBytes);
          totalBytes += value.length;
          yield { part: { case: "chunk", value } };
        }
      }
    } catch (error) {
      failure = unreadableFile(error, file);
      throw failure;
    }
    yield { part: { case: "finish", value: { totalBytes: BigInt(totalBytes) } } };
  }
  try {
    return (await runs.submitRunArchive(messages(), { signal })).run;
  } catch (error) {
    throw failure ?? error;
  }
}

/** The tar, whatever it was packed by. */
async function* unpacked(packed: Readable, signal: AbortSignal): AsyncGenerator<Buffer> {
  const chunks: AsyncIterator<Buffer> = packed[Symbol.asyncIterator]();
  const first = await chunks.next();
  const head = first.done === true ? Buffer.alloc(0) : first.value;
  async function* all(): AsyncGenerator<Buffer> {
    yield head;
    for (let next = await chunks.next(); next.done !== true; next = await chunks.next()) yield next.value;
  }
  const into = unpackerOf(head);
  const moved = pipeline(all(), into, { signal });
  moved.catch(() => {}); // awaited below; the reader sees it first
  for await (const chunk of into) yield chunk as Buffer;
  await moved;
}

function unpackerOf(head: Buffer) {
  if (head[0] === 0x1f && head[1] === 0x8b) return createGunzip();
  if (head.length >= 4 && head.readUInt32LE(0) === 0xfd2fb528) return createZstdDecompress();
  return new PassThrough();
}

import { constants, type FileHandle, mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import {
  encodeEntry,
  findEntry,
  type IndexEntry,
  type IndexSummary,
  indexEntryBytes,
  readEntries,
  summarise,
} from "./log-index.ts";
import type { LogChunk, LogEnd } from "./log-store.ts";

/** Where a reader stands. `entry` is the index entry to look at next; absent at first. */
export interface LogCursor {
  readonly offset: number;
  readonly entry?: number;
}

/**
 * One attempt's output, open: the raw bytes in `<path>.log`, when they came in `<path>.idx`. The size of the bytes is
 * the truth about the log, the index is advice on top, so only the bytes need to be on disk before an append counts.
 * A log that does not exist is an empty one and is made by the first write. Calls may overlap; writes take turns.
 */
export interface LogFile {
  size(): number;
  /** How it ended; undefined while it has not. */
  ended(): LogEnd | undefined;
  /** Up to where the bytes are on disk. */
  syncedSize(): number;
  /** Adds what is new of the chunk, without waiting for the disk. Whether there was anything new. */
  write(chunk: LogChunk): Promise<boolean>;
  /** Brings to disk what was written before the call. */
  sync(): Promise<void>;
  /** Marks the end and brings everything to disk. A gap is an end until more comes or all is there; "whole" stays. */
  finish(timeMs: number, end: LogEnd): Promise<void>;
  /** The next pieces, at most `limits.logReadBytes` in all; none at the present end. */
  read(cursor: LogCursor): Promise<{ chunks: LogChunk[]; next: LogCursor }>;
  close(): Promise<void>;
}

interface Files {
  readonly log: FileHandle;
  readonly index: FileHandle;
}

export async function openLogFile(path: string): Promise<LogFile> {
  let files = await openFiles(path, constants.O_RDWR).catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  let { count, end: size, ended }: IndexSummary = { count: 0, end: 0, ended: undefined };
  if (files !== undefined) ({ count, end: size, ended } = await repair(files));
  // After a crash nobody knows what of a log that may grow has reached the disk.
  let synced = ended === "whole" ? size : 0;
  let isNew = false;
  /** A write that failed half-way, in this life or in one before, may have left more than `size`. */
  let isTorn = files !== undefined;
  let turn: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = turn.then(work);
    turn = result.catch(() => undefined);
    return result;
  }

  async function existing(): Promise<Files> {
    if (files !== undefined) return files;
    await mkdir(dirname(path), { recursive: true });
    // An index that is there describes bytes that somebody removed.
    files = await openFiles(path, constants.O_RDWR | constants.O_CREAT, constants.O_TRUNC);
    isNew = true;
    return files;
  }

  async function addEntries(index: FileHandle, entries: readonly IndexEntry[]): Promise<void> {
    await writeFully(index, Buffer.concat(entries.map(encodeEntry)), count * indexEntryBytes);
    count += entries.length;
  }

  async function sync(): Promise<void> {
    if (files === undefined || synced === size) return;
    const written = size;
    await withNames(files.log.datasync());
    synced = Math.max(synced, written);
  }

  /** Brings the names of new files to disk beside their contents: at the same time, the disk makes one sync of them. */
  async function withNames(contents: Promise<void>): Promise<void> {
    const folder = dirname(path);
    await Promise.all([contents, ...(isNew ? [syncFolder(folder), syncFolder(dirname(folder))] : [])]);
    isNew = false;
  }

  return {
    size: () => size,
    ended: () => ended,
    syncedSize: () => synced,
    sync,
    write: (chunk) =>
      inTurn(async () => {
        if (chunk.offset > size) return false;
        const fresh = chunk.data.subarray(size - chunk.offset);
        if (fresh.byteLength === 0) return false;
        if (ended === "whole")
          throw new MillraceError("failed_precondition", `${path}.log is finished and takes no more bytes`);
        if (size + fresh.byteLength > limits.logBytes) {
          throw new MillraceError(
            "resource_exhausted",
            `${path}.log has ${size} bytes; ${limits.logBytes} is the most`,
          );
        }
        const { log, index } = await existing();
        isTorn = true;
        await writeFully(log, fresh, size);
        isTorn = false;
        size += fresh.byteLength;
        const piece = pieceEntry(size, chunk.timeMs);
        // In one write: a log that has ended stays one that has.
        await addEntries(index, ended === "gap" ? [piece, gapEntry(size, chunk.timeMs)] : [piece]);
        return true;
      }),
    finish: (timeMs, end) =>
      inTurn(async () => {
        if (ended === "whole" || ended === end) return;
        const { log, index } = await existing();
        if (isTorn) await log.truncate(size);
        await sync(); // first: the end of what is not on disk would be none
        await addEntries(index, [end === "gap" ? gapEntry(size, timeMs) : pieceEntry(size, timeMs)]);
        await withNames(index.datasync());
        ended = end;
      }),
    async read(cursor) {
      if (files === undefined || cursor.offset >= size) return { chunks: [], next: cursor };
      return readChunks(files, cursor, count);
    },
    async close() {
      await turn;
      await files?.log.close();
      await files?.index.close();
    },
  };
}

/** Of a piece that ends there; of no piece, the end of a whole log. */
function pieceEntry(end: number, timeMs: number): IndexEntry {
  return { end, timeMs: Math.max(1, timeMs) };
}

function gapEntry(end: number, timeMs: number): IndexEntry {
  return { end, timeMs: -Math.max(1, timeMs) };
}

async function openFiles(path: string, flags: number, indexFlags = 0): Promise<Files> {
  const log = await open(`${path}.log`, flags, 0o640);
  try {
    return { log, index: await open(`${path}.idx`, constants.O_RDWR | constants.O_CREAT | indexFlags, 0o640) };
  } catch (error) {
    await log.close();
    throw error;
  }
}

/** Makes the index fit the bytes again after a crash: drops what cannot be relied on, and covers what it lacks. */
async function repair({ log, index }: Files): Promise<IndexSummary> {
  const { size: logBytes, mtimeMs: exactMs } = await log.stat();
  const mtimeMs = Math.round(exactMs);
  const { size: indexBytes } = await index.stat();
  const found = await summarise(index, Math.floor(indexBytes / indexEntryBytes), logBytes);
  if (found.count * indexEntryBytes !== indexBytes) await index.truncate(found.count * indexEntryBytes);
  if (found.end === logBytes) return found;
  const entries = [pieceEntry(logBytes, mtimeMs), ...(found.ended === "gap" ? [gapEntry(logBytes, mtimeMs)] : [])];
  await writeFully(index, Buffer.concat(entries.map(encodeEntry)), found.count * indexEntryBytes);
  return { count: found.count + entries.length, end: logBytes, ended: found.ended };
}

const entriesAtOnce = 256;

async function readChunks({ log, index }: Files, cursor: LogCursor, count: number) {
  const first = cursor.entry ?? (await findEntry(index, count, cursor.offset));
  const entries = await readEntries(index, first, Math.min(entriesAtOnce, count - first));
  const most = cursor.offset + limits.logReadBytes;
  const until = Math.min(entries.at(-1)?.end ?? 0, most);
  if (until <= cursor.offset) return { chunks: [], next: { offset: cursor.offset, entry: first + entries.length } };
  const bytes = new Uint8Array(until - cursor.offset);
  await readFully(log, bytes, cursor.offset);

  const chunks: LogChunk[] = [];
  let offset = cursor.offset;
  let entry = first;
  for (const { end, timeMs } of entries) {
    while (offset < Math.min(end, until)) {
      const to = Math.min(end, until, offset + limits.logChunkBytes);
      chunks.push({ offset, data: bytes.subarray(offset - cursor.offset, to - cursor.offset), timeMs });
      offset = to;
    }
    if (offset < end) break;
    entry += 1;
  }
  return { chunks, next: { offset, entry } };
}

async function writeFully(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    done += (await file.write(data, done, data.byteLength - done, position + done)).bytesWritten;
  }
}

async function readFully(file: FileHandle, data: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    const { bytesRead } = await file.read(data, done, data.byteLength - done, position + done);
    if (bytesRead === 0) throw new MillraceError("data_loss", "a log file became shorter while it was read");
    done += bytesRead;
  }
}

/** Makes the names of new files durable. */
async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

import type { FileHandle } from "node:fs/promises";
import type { LogEnd } from "./log-store.ts";

/**
 * The index beside a log says when each piece of it came: fixed-size entries in the order of arrival, each with the
 * offset at which its piece ends. An entry whose piece is empty marks the end of the log; with a negative time, an end in
 * a gap. Only after a gap may more entries follow, the last of them an end again.
 */
export interface IndexEntry {
  readonly end: number;
  /** Wall time; never 0, so that zeros left by a power failure are no entry. Negative for a gap. */
  readonly timeMs: number;
}

/** Two doubles, little-endian: exact for every offset and time there is. */
export const indexEntryBytes = 16;

/** The bytes of one entry, to be appended. */
export function encodeEntry({ end, timeMs }: IndexEntry): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(indexEntryBytes));
  bytes.setFloat64(0, end, true);
  bytes.setFloat64(8, timeMs, true);
  return new Uint8Array(bytes.buffer);
}

/** Up to `count` entries from number `first` on; fewer at the end of the file. A torn entry is none. */
export async function readEntries(file: FileHandle, first: number, count: number): Promise<IndexEntry[]> {
  const bytes = new DataView(new ArrayBuffer(count * indexEntryBytes));
  const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, first * indexEntryBytes);
  const entries: IndexEntry[] = [];
  for (let at = 0; at + indexEntryBytes <= bytesRead; at += indexEntryBytes) {
    entries.push({ end: bytes.getFloat64(at, true), timeMs: bytes.getFloat64(at + 8, true) });
  }
  return entries;
}

/** What an index holds. */
export interface IndexSummary {
  readonly count: number;
  /** Of the last entry; 0 when there is none. */
  readonly end: number;
  /** What the last entry says of the end; undefined while there is none. */
  readonly ended: LogEnd | undefined;
}

const scanEntries = 4096;

/**
 * The part of an index that can be relied on: up to the first entry that is torn, goes back or lies beyond the log,
 * which only a power failure can leave behind. The last entries of a finished log are known to be on disk: no scan.
 */
export async function summarise(file: FileHandle, entries: number, logBytes: number): Promise<IndexSummary> {
  const tail = await readEntries(file, Math.max(0, entries - 2), Math.min(2, entries));
  const last = tail.at(-1);
  const endBefore = tail.length === 2 ? tail[0]?.end : 0;
  if (last !== undefined && last.timeMs !== 0 && last.end === logBytes && last.end === endBefore) {
    return { count: entries, end: last.end, ended: last.timeMs > 0 ? "whole" : "gap" };
  }
  let count = 0;
  let end = 0;
  let ended: LogEnd | undefined;
  while (count < entries) {
    for (const entry of await readEntries(file, count, Math.min(scanEntries, entries - count))) {
      const isGap = entry.timeMs < 0 && entry.end === end;
      const isPiece = entry.timeMs > 0 && entry.end > end && entry.end <= logBytes;
      if (!isGap && !isPiece) return { count, end, ended };
      count += 1;
      end = entry.end;
      // The bytes after a gap come from an agent that is back; until it says otherwise the gap is behind them.
      if (isGap) ended = "gap";
    }
  }
  return { count, end, ended };
}

/** The number of the first entry that ends after `offset`; `count` when there is none. Halves the range each time. */
export async function findEntry(file: FileHandle, count: number, offset: number): Promise<number> {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const [entry] = await readEntries(file, middle, 1);
    if (entry === undefined || entry.end > offset) high = middle;
    else low = middle + 1;
  }
  return low;
}

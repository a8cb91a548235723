import { constants, type FileHandle, mkdir, open, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { changes } from "../changes.ts";
import { type DigestKey, digestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { BlobLocation, PlacedBlob } from "./blob-table.ts";
import type { Blob } from "./cas.ts";
import { segmentName } from "./disk-layout.ts";
import { syncDirectory, writeFully } from "./files.ts";
import type { SegmentSpace } from "./segment-space.ts";

/** A read that swallows a gap of this size is cheaper than a second one. */
const gapBytes = 16 * 1024;

/**
 * Small blobs, one behind the other in files of `limits.casSegmentBytes`, because an inode for each is slow. There are no
 * headers: the index says where a blob is, and what it does not name does not exist. Appends come one at a time.
 */
export interface Segments {
  /** Resolves with the places when the bytes are on disk. After an error the same bytes may be overwritten. */
  append(blobs: readonly Blob[]): Promise<PlacedBlob[]>;
  /**
   * Throws data_loss when a segment is shorter than the index says. The places must be those of this moment: a segment
   * is not dropped while it is read.
   */
  readMany(places: readonly PlacedBlob[]): Promise<Map<DigestKey, Uint8Array>>;
  /** Begins another segment, between two appends: the one that was being written can be compacted then. */
  seal(): Promise<void>;
  /** Removes a sealed segment that the index does not name; resolves when its readers have left and it is gone. */
  drop(segment: number): Promise<void>;
  close(): Promise<void>;
}

export interface SegmentsOptions {
  readonly dir: string;
  /** The last byte that the index knows. */
  readonly end: BlobLocation;
  /** Knows already where blobs are; is told here how large the files are. */
  readonly space: SegmentSpace;
}

/**
 * Opens the segments for appending behind `end`: what stands behind it was being written when the process died, and is
 * cut off. A segment that holds no blob any more was to be dropped, and is.
 */
export async function openSegments({ dir, end, space }: SegmentsOptions): Promise<Segments> {
  await mkdir(dir, { recursive: true });
  for (const name of await readdir(dir)) {
    const number = Number.parseInt(name, 10);
    if (number > end.segment || (number < end.segment && space.isEmpty(number))) await rm(join(dir, name));
    else space.grew(number, (await stat(join(dir, name))).size);
  }
  /** Readers by segment, and who waits for the last of them to leave. */
  const readers = new Map<number, number>();
  const left = changes();
  let segment = Math.max(1, end.segment);
  let position = end.offset;
  let file = await openSegment(segment);
  await file.truncate(position);
  space.grew(segment, position);

  async function openSegment(number: number): Promise<FileHandle> {
    const handle = await open(pathOf(number), constants.O_RDWR | constants.O_CREAT);
    await syncDirectory(dir);
    return handle;
  }

  function pathOf(number: number): string {
    return join(dir, segmentName(number));
  }

  function leave(number: number): void {
    const others = (readers.get(number) ?? 1) - 1;
    if (others > 0) readers.set(number, others);
    else readers.delete(number);
    left.announce();
  }

  async function roll(): Promise<void> {
    const next = await openSegment(segment + 1);
    await next.truncate(0);
    await file.close();
    file = next;
    segment++;
    position = 0;
    space.grew(segment, 0);
  }

  return {
    async append(blobs) {
      const places: PlacedBlob[] = [];
      let run: Uint8Array[] = [];
      let end = position;
      const flush = async (): Promise<void> => {
        if (run.length === 0) return;
        await writeFully(file, Buffer.concat(run), position);
        await file.datasync();
        position = end;
        space.grew(segment, position);
        run = [];
      };
      for (const { digest, data } of blobs) {
        if (end + data.byteLength > limits.casSegmentBytes) {
          await flush();
          await roll();
          end = 0;
        }
        places.push({ digest, segment, offset: end });
        run.push(data);
        end += data.byteLength;
        if (end - position >= limits.casCommitBytes) await flush();
      }
      await flush();
      return places;
    },
    async readMany(places) {
      const found = new Map<DigestKey, Uint8Array>();
      const sorted = [...places].sort((a, b) => a.segment - b.segment || a.offset - b.offset);
      const bySegment = Map.groupBy(sorted, (place) => place.segment);
      for (const number of bySegment.keys()) readers.set(number, (readers.get(number) ?? 0) + 1);
      try {
        for (const [number, inSegment] of bySegment) {
          const handle = await open(pathOf(number), "r");
          try {
            for (const run of runsOf(inSegment)) await readRun(handle, run, found);
          } finally {
            await handle.close();
          }
        }
        return found;
      } finally {
        for (const number of bySegment.keys()) leave(number);
      }
    },
    seal: roll,
    async drop(number) {
      if (number >= segment) throw new MillraceError("internal", `segment ${number} is still being written`);
      const { signal } = new AbortController();
      for (let version = left.version(); readers.has(number); version = left.version())
        await left.after(version, signal);
      await rm(pathOf(number), { force: true });
      await syncDirectory(dir);
      space.forget(number);
    },
    close: () => file.close(),
  };
}

/** Groups neighbours so that one read serves them. */
function* runsOf(sorted: readonly PlacedBlob[]): Generator<PlacedBlob[]> {
  let run: PlacedBlob[] = [];
  let start = 0;
  let end = 0;
  for (const place of sorted) {
    const placeEnd = place.offset + place.digest.sizeBytes;
    if (run.length > 0 && (place.offset - end > gapBytes || placeEnd - start > limits.streamChunkBytes)) {
      yield run;
      run = [];
    }
    if (run.length === 0) start = place.offset;
    run.push(place);
    end = placeEnd;
  }
  if (run.length > 0) yield run;
}

async function readRun(
  handle: FileHandle,
  run: readonly PlacedBlob[],
  found: Map<DigestKey, Uint8Array>,
): Promise<void> {
  const start = run[0]?.offset ?? 0;
  const end = run.reduce((most, place) => Math.max(most, place.offset + place.digest.sizeBytes), start);
  const buffer = Buffer.allocUnsafe(end - start);
  const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, start);
  for (const { digest, offset } of run) {
    const from = offset - start;
    if (from + digest.sizeBytes > bytesRead) {
      throw new MillraceError("data_loss", `blob ${digestKey(digest)}: its segment ends before it`);
    }
    // A copy, for a view would keep all of the run alive.
    found.set(digestKey(digest), new Uint8Array(buffer.subarray(from, from + digest.sizeBytes)));
  }
}

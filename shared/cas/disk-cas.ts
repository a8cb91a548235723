import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { type Clock, systemClock } from "../clock.ts";
import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { storageFailure } from "../disk-space.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Sqlite } from "../sqlite/sqlite.ts";
import { type BlobLocation, BlobTable, type PlacedBlob } from "./blob-table.ts";
import type { Blob, Cas } from "./cas.ts";
import { checkBlob, checkedSource, collect, slices } from "./checked-source.ts";
import { type DiskIndex, diskIndex } from "./disk-index.ts";
import { blobFile, segmentFolder } from "./disk-layout.ts";
import { distinct, isEmptyBlob } from "./distinct.ts";
import { readFileRange, syncDirectory, writeNewFile } from "./files.ts";
import { noSuchBlob, rangeOf } from "./read-range.ts";
import { openSegments, type Segments } from "./segments.ts";
import type { Quarantine } from "./verifying-cas.ts";

// Whoever makes the store opens its database first.
export { diskCasSchema } from "./disk-index.ts";

export interface DiskCasOptions {
  /** Owned by this store alone; made when absent. */
  readonly dir: string;
  /** Opened with `diskCasSchema` among its migrations. Stays open. */
  readonly sqlite: Sqlite;
  readonly clock?: Clock;
}

export type DiskCas = Cas & {
  /** Forgets a corrupt blob; a file of its own is kept under `quarantine/` for whoever looks into the disk. */
  readonly quarantine: Quarantine;
  /** Waits for writes that were begun. */
  close(): Promise<void>;
};

/**
 * The coordinator's store. Small blobs are packed into segments, larger ones are files; a blob exists from the moment
 * that its row is committed to the index, and only then is the write resolved. Whatever dies before that leaves bytes
 * that nothing names: they are cut off or removed at the next start, which reads the index and no blob.
 */
export async function openDiskCas({ dir, sqlite, clock = systemClock }: DiskCasOptions): Promise<DiskCas> {
  const storage = { owner: "the coordinator", folder: dir };
  const temp = join(dir, "temp");
  await rm(temp, { recursive: true, force: true });
  await mkdir(temp, { recursive: true });
  const index = diskIndex(sqlite);
  const table = new BlobTable();
  const segments = await openSegments(join(dir, segmentFolder), await loadInto(table, index));
  const nowSeconds = (): number => Math.floor(clock.nowMs() / 1000);
  const commit = async (blobs: readonly PlacedBlob[]): Promise<void> => {
    const usedAtSeconds = nowSeconds();
    await index.put(blobs, usedAtSeconds);
    for (const blob of blobs) table.set(blob.digest, blob, usedAtSeconds);
  };
  const failed = (error: unknown) => storageFailure(error, "storing small blobs", storage);
  const packer = packInto({ segments, has, commit, failed });
  let tempFiles = 0;
  let closed = false;

  function has(digest: Digest): boolean {
    return isEmptyBlob(digest) || table.has(digest);
  }

  function checkOpen(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (closed) throw new MillraceError("unavailable", `the store in ${dir} is closed`);
  }

  /** Keeps what is used: in the table at once, in the index once for each `lastUsePrecisionMs`. */
  async function touch(present: readonly Digest[]): Promise<void> {
    const now = nowSeconds();
    const staleBefore = now - limits.lastUsePrecisionMs / 1000;
    const stale: Digest[] = [];
    for (const digest of present) {
      const location = table.get(digest);
      if (location === undefined || (table.usedAt(digest) ?? now) > staleBefore) continue;
      table.set(digest, location, now);
      stale.push(digest);
    }
    if (stale.length > 0) await index.touch(stale, now);
  }

  const fileOf = (digest: Digest): string => join(dir, blobFile(digest));

  async function* read(...[digest, range, signal]: Parameters<Cas["read"]>): AsyncGenerator<Uint8Array> {
    checkOpen(signal);
    const { start, end } = rangeOf(digest, range);
    if (isEmptyBlob(digest)) return;
    const location = table.get(digest);
    if (location === undefined) throw noSuchBlob(digest);
    await touch([digest]);
    if (location.segment === 0) {
      yield* readFileRange(fileOf(digest), digest.sizeBytes, { start, end }, signal);
      return;
    }
    const data = (await segments.readMany([{ digest, ...location }])).get(digestKey(digest));
    if (data !== undefined) yield* slices(data.subarray(start, end));
  }

  async function writeFile(digest: Digest, source: AsyncIterable<Uint8Array>): Promise<void> {
    const unfinished = join(temp, String(++tempFiles));
    const path = fileOf(digest);
    try {
      await writeNewFile(unfinished, source, { durable: true });
      const made = await mkdir(dirname(path), { recursive: true });
      if (made !== undefined) await syncDirectory(dirname(made));
      await rename(unfinished, path);
      await syncDirectory(dirname(path));
      await commit([{ digest, segment: 0, offset: 0 }]);
    } catch (error) {
      const failure = storageFailure(error, `storing blob ${digestKey(digest)}`, storage); // while it still is as it was
      await rm(unfinished, { force: true });
      throw failure;
    }
  }

  return {
    async findMissing(digests, signal) {
      checkOpen(signal);
      const asked = distinct(digests);
      const missing = asked.filter((digest) => !has(digest));
      await touch(asked);
      return missing;
    },
    read,
    async write(digest, source, signal) {
      checkOpen(signal);
      if (has(digest)) return await touch([digest]);
      const checked = checkedSource(digest, source, signal);
      if (digest.sizeBytes > limits.smallBlobBytes) await writeFile(digest, checked);
      else await packer.pack([{ digest, data: await collect(checked, digest.sizeBytes) }]);
    },
    async readMany(digests, signal) {
      checkOpen(signal);
      const found = new Map<DigestKey, Uint8Array>();
      const packed: PlacedBlob[] = [];
      for (const digest of distinct(digests)) {
        const location = table.get(digest);
        if (isEmptyBlob(digest)) found.set(digestKey(digest), new Uint8Array());
        else if (location === undefined) continue;
        else if (location.segment > 0) packed.push({ digest, ...location });
        else found.set(digestKey(digest), await collect(read(digest, {}, signal), digest.sizeBytes));
      }
      for (const [key, data] of await segments.readMany(packed)) found.set(key, data);
      await touch(packed.map((place) => place.digest));
      return found;
    },
    async writeMany(blobs, signal) {
      checkOpen(signal);
      for (const blob of blobs) checkBlob(blob);
      const large = blobs.filter(({ digest }) => digest.sizeBytes > limits.smallBlobBytes && !has(digest));
      const small = blobs.filter(({ digest }) => digest.sizeBytes <= limits.smallBlobBytes);
      for (const { digest, data } of large) await writeFile(digest, Readable.from(slices(data)));
      await packer.pack(small);
      await touch(blobs.map(({ digest }) => digest));
    },
    async quarantine(digest) {
      const location = table.get(digest);
      if (location === undefined) return;
      table.delete(digest);
      await index.remove(digest);
      if (location.segment > 0) return;
      await mkdir(join(dir, "quarantine"), { recursive: true });
      await rename(fileOf(digest), join(dir, "quarantine", `${digest.hash}-${digest.sizeBytes}`)).catch(
        (error: unknown) => {
          if (from(error).code !== "not_found") throw from(error, `setting blob ${digestKey(digest)} aside`);
        },
      );
    },
    async close() {
      closed = true;
      await packer.idle();
      await segments.close();
    },
  };
}

/** Fills the table and returns the end of what the index knows of the segments. */
async function loadInto(table: BlobTable, index: DiskIndex): Promise<BlobLocation> {
  let end: BlobLocation = { segment: 1, offset: 0 };
  for await (const { usedAtSeconds, ...blob } of index.load()) {
    table.set(blob.digest, blob, usedAtSeconds);
    const offset = blob.offset + blob.digest.sizeBytes;
    if (blob.segment > end.segment || (blob.segment === end.segment && offset > end.offset)) {
      end = { segment: blob.segment, offset };
    }
  }
  return end;
}

interface Packer {
  /** Resolves when all of them are durable. */
  pack(blobs: readonly Blob[]): Promise<void>;
  /** Resolves when nothing is under way. */
  idle(): Promise<void>;
}

interface PackerDeps {
  readonly segments: Segments;
  has(digest: Digest): boolean;
  commit(blobs: readonly PlacedBlob[]): Promise<void>;
  /** What writers are told of an error. */
  failed(error: unknown): MillraceError;
}

/** Many writers, one append at a time: what arrives during one fsync shares the next. */
function packInto({ segments, has, commit, failed }: PackerDeps): Packer {
  interface Waiting {
    readonly blobs: readonly Blob[];
    readonly bytes: number;
    readonly done: PromiseWithResolvers<void>;
  }
  const waiting: Waiting[] = [];
  let waitingBytes = 0;
  let running: Promise<void> | undefined;

  async function packAll(): Promise<void> {
    while (waiting.length > 0) {
      const group = takeGroup();
      const blobs = new Map<DigestKey, Blob>();
      for (const blob of group.flatMap((each) => each.blobs))
        if (!has(blob.digest)) blobs.set(digestKey(blob.digest), blob);
      try {
        const fresh = [...blobs.values()];
        await commit(await segments.append(fresh));
        for (const { done } of group) done.resolve();
      } catch (error) {
        const failure = failed(error);
        for (const { done } of group) done.reject(failure);
      } finally {
        for (const { bytes } of group) waitingBytes -= bytes;
      }
    }
    running = undefined;
  }

  function takeGroup(): Waiting[] {
    let count = 0;
    for (let bytes = 0; count < waiting.length; count++) {
      bytes += waiting[count]?.bytes ?? 0;
      if (bytes > limits.casCommitBytes) break;
    }
    return waiting.splice(0, Math.max(1, count));
  }

  return {
    async pack(blobs) {
      const fresh = blobs.filter(({ digest }) => !has(digest));
      if (fresh.length === 0) return;
      const bytes = fresh.reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
      if (waitingBytes > 0 && waitingBytes + bytes > limits.casPendingBytes) {
        throw new MillraceError(
          "resource_exhausted",
          "too many blobs are waiting for the disk; write again in a moment",
        );
      }
      const done = Promise.withResolvers<void>();
      waiting.push({ blobs: fresh, bytes, done });
      waitingBytes += bytes;
      running ??= packAll();
      await done.promise;
    },
    async idle() {
      await running;
    },
  };
}

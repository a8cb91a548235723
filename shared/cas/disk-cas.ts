import { mkdir, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Readable } from "node:stream";
import { type Clock, systemClock } from "../clock.ts";
import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { storageFailure } from "../disk-space.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Sqlite } from "../sqlite/sqlite.ts";
import { blobLedger } from "./blob-ledger.ts";
import { type BlobLocation, BlobTable, type PlacedBlob } from "./blob-table.ts";
import type { Cas } from "./cas.ts";
import type { CasKeeping } from "./cas-keeping.ts";
import { changingFiles } from "./changing-files.ts";
import { checkBlob, checkedSource, collect, slices } from "./checked-source.ts";
import { type DiskIndex, diskIndex } from "./disk-index.ts";
import { diskKeeping } from "./disk-keeping.ts";
import { blobFile, segmentFolder } from "./disk-layout.ts";
import { distinct, isEmptyBlob } from "./distinct.ts";
import { readFileRange, syncDirectory, writeNewFile } from "./files.ts";
import { packInto } from "./packer.ts";
import { noSuchBlob, rangeOf } from "./read-range.ts";
import { type SegmentSpace, segmentSpace } from "./segment-space.ts";
import { openSegments } from "./segments.ts";
import type { Quarantine } from "./verifying-cas.ts";

// Whoever makes the store opens its database first.
export { diskCasSchema } from "./disk-index.ts";

export interface DiskCasOptions {
  /** Owned by this store alone; made when absent. */
  readonly dir: string;
  /** Opened with `diskCasSchema` among its migrations. Stays open. */
  readonly sqlite: Sqlite;
  readonly clock?: Clock;
  /** How long a blob that somebody was told of stays after its last use; default `limits.casPromiseMs`. */
  readonly promiseMs?: number;
}

export type DiskCas = Cas &
  CasKeeping & {
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
export async function openDiskCas(options: DiskCasOptions): Promise<DiskCas> {
  const { dir, sqlite, clock = systemClock, promiseMs = limits.casPromiseMs } = options;
  const storage = { owner: "the coordinator", folder: dir };
  const temp = join(dir, "temp");
  await rm(temp, { recursive: true, force: true });
  await mkdir(temp, { recursive: true });
  const index = diskIndex(sqlite);
  const table = new BlobTable();
  const space = segmentSpace();
  const nowSeconds = (): number => Math.floor(clock.nowMs() / 1000);
  const { end, fileBytes } = await loadInto({ table, space, index, nowSeconds: nowSeconds() });
  const segments = await openSegments({ dir: join(dir, segmentFolder), end, space });
  const ledger = blobLedger({ table, space, nowSeconds, fileBytes });
  const { use } = ledger;
  const commit = async (blobs: readonly PlacedBlob[]): Promise<void> => {
    const usedAtSeconds = nowSeconds();
    await index.put(blobs, usedAtSeconds);
    ledger.put(blobs, usedAtSeconds);
  };
  const failed = (error: unknown) => storageFailure(error, "storing small blobs", storage);
  const packer = packInto({ segments, use, commit, failed });
  const changing = changingFiles();
  let tempFiles = 0;
  let closed = false;

  function checkOpen(signal: AbortSignal | undefined): void {
    signal?.throwIfAborted();
    if (closed) throw new MillraceError("unavailable", `the store in ${dir} is closed`);
  }

  /** Brings the uses of blobs to disk, those that are due. */
  async function save(): Promise<void> {
    const due = table.takeUnsaved();
    if (due.length === 0) return;
    try {
      await index.touch(due, nowSeconds());
    } catch (error) {
      table.forgetSaved(due);
      throw error;
    }
  }

  const fileOf = (digest: Digest): string => join(dir, blobFile(digest));

  async function* read(...[digest, range, signal]: Parameters<Cas["read"]>): AsyncGenerator<Uint8Array> {
    checkOpen(signal);
    const { start, end } = rangeOf(digest, range);
    if (isEmptyBlob(digest)) return;
    if (!use(digest)) throw noSuchBlob(digest);
    await save();
    const location = table.get(digest); // of this moment: it may just have been moved
    if (location === undefined) throw noSuchBlob(digest);
    if (location.segment === 0) {
      yield* readFileRange(fileOf(digest), digest.sizeBytes, { start, end }, signal);
      return;
    }
    const data = (await segments.readMany([{ digest, ...location }])).get(digestKey(digest));
    if (data !== undefined) yield* slices(data.subarray(start, end));
  }

  /** Without a use. */
  async function peekMany(...[digests, signal]: Parameters<Cas["readMany"]>) {
    checkOpen(signal);
    const found = new Map<DigestKey, Uint8Array>();
    const packed: PlacedBlob[] = [];
    const large: Digest[] = [];
    for (const digest of distinct(digests)) {
      const location = table.get(digest);
      if (isEmptyBlob(digest)) found.set(digestKey(digest), new Uint8Array());
      else if (location === undefined) continue;
      else if (location.segment > 0) packed.push({ digest, ...location });
      else large.push(digest);
    }
    for (const [key, data] of await segments.readMany(packed)) found.set(key, data);
    for (const digest of large) {
      const whole = { start: 0, end: digest.sizeBytes };
      const chunks = readFileRange(fileOf(digest), digest.sizeBytes, whole, signal);
      found.set(digestKey(digest), await collect(chunks, digest.sizeBytes));
    }
    return found;
  }

  async function writeFile(digest: Digest, source: AsyncIterable<Uint8Array>): Promise<void> {
    const unfinished = join(temp, String(++tempFiles));
    const path = fileOf(digest);
    try {
      await writeNewFile(unfinished, source, { durable: true });
      const made = await mkdir(dirname(path), { recursive: true });
      if (made !== undefined) await syncDirectory(dirname(made));
      await changing.store(digest, async () => {
        await rename(unfinished, path);
        await syncDirectory(dirname(path));
        await commit([{ digest, segment: 0, offset: 0 }]);
      });
    } catch (error) {
      const failure = storageFailure(error, `storing blob ${digestKey(digest)}`, storage); // while it still is as it was
      await rm(unfinished, { force: true });
      throw failure;
    }
  }

  const setAside = quarantineInto(dir, fileOf);
  const quarantine = async (digest: Digest): Promise<void> => {
    const location = ledger.forget(digest);
    if (location === undefined) return;
    await changing.remove(digest, async () => {
      await index.remove([digest]);
      ledger.release(digest, location);
      if (location.segment === 0) await setAside(digest);
    });
  };
  const keeping = diskKeeping({
    ...{ dir, table, ledger, index, segments, space, packer, changing },
    ...{ quarantine, nowSeconds, promiseMs, peekMany },
    removeFile: (digest) => rm(fileOf(digest), { force: true }),
  });

  return {
    async findMissing(digests, signal) {
      checkOpen(signal);
      const asked = distinct(digests);
      const missing = asked.filter((digest) => !use(digest));
      await save();
      return missing;
    },
    read,
    async write(digest, source, signal) {
      checkOpen(signal);
      if (use(digest)) return await save();
      const checked = checkedSource(digest, source, signal);
      if (digest.sizeBytes > limits.smallBlobBytes) await writeFile(digest, checked);
      else await packer.pack([{ digest, data: await collect(checked, digest.sizeBytes) }]);
    },
    async readMany(digests, signal) {
      for (const digest of digests) use(digest);
      const found = await peekMany(digests, signal);
      await save();
      return found;
    },
    async writeMany(blobs, signal) {
      checkOpen(signal);
      for (const blob of blobs) checkBlob(blob);
      const large = blobs.filter(({ digest }) => digest.sizeBytes > limits.smallBlobBytes && !use(digest));
      const small = blobs.filter(({ digest }) => digest.sizeBytes <= limits.smallBlobBytes);
      for (const { digest, data } of large) await writeFile(digest, Readable.from(slices(data)));
      await packer.pack(small);
      await save();
    },
    quarantine,
    ...keeping,
    async close() {
      closed = true;
      await packer.idle();
      await segments.close();
    },
  };
}

interface Loading {
  readonly table: BlobTable;
  readonly space: SegmentSpace;
  readonly index: DiskIndex;
  readonly nowSeconds: number;
}

/**
 * Fills the table; gives the end of what the index knows of the segments, and the bytes in files of their own. A blob may
 * have been used until `lastUsePrecisionMs` after what is on disk, so that counts as its last use.
 */
async function loadInto({ table, space, index, nowSeconds }: Loading) {
  let end: BlobLocation = { segment: 1, offset: 0 };
  let fileBytes = 0;
  for await (const { usedAtSeconds, ...blob } of index.load()) {
    table.set(blob.digest, blob, usedAtSeconds);
    table.use(blob.digest, Math.min(nowSeconds, usedAtSeconds + limits.lastUsePrecisionMs / 1000 - 1));
    if (blob.segment === 0) fileBytes += blob.digest.sizeBytes;
    else space.added(blob);
    const offset = blob.offset + blob.digest.sizeBytes;
    if (blob.segment > end.segment || (blob.segment === end.segment && offset > end.offset)) {
      end = { segment: blob.segment, offset };
    }
  }
  return { end, fileBytes };
}

/** Keeps the file of a corrupt blob for whoever looks into the disk. */
function quarantineInto(dir: string, fileOf: (digest: Digest) => string): (digest: Digest) => Promise<void> {
  return async (digest) => {
    await mkdir(join(dir, "quarantine"), { recursive: true });
    await rename(fileOf(digest), join(dir, "quarantine", `${digest.hash}-${digest.sizeBytes}`)).catch(
      (error: unknown) => {
        if (from(error).code !== "not_found") throw from(error, `setting blob ${digestKey(digest)} aside`);
      },
    );
  };
}

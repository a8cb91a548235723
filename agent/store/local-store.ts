import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { batches } from "../../shared/cas/batches.ts";
import type { Blob, Cas } from "../../shared/cas/cas.ts";
import { distinct } from "../../shared/cas/distinct.ts";
import { readFileRange } from "../../shared/cas/files.ts";
import { inParallel } from "../../shared/cas/in-parallel.ts";
import { missingBlobs } from "../../shared/cas/missing-blobs.ts";
import { type Digest, type DigestKey, digestKey, emptyDigest, parseDigestKey } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Snapshot } from "../../shared/merkle/scan.ts";
import type { Patiently } from "../retry.ts";
import type { BlobFiles, StoredFile } from "./blob-files.ts";

/** The agent's own blobs, filled from the farm as tasks need them. Safe for concurrent calls. */
export interface LocalStore {
  /**
   * Takes blobs that came with a message; they stay until they are released. Throws `invalid_argument` when their bytes
   * are not right.
   */
  put(blobs: readonly Blob[]): Promise<Pin>;
  /**
   * Brings what is not here; one blob is fetched once, however many ask. Waits while the farm cannot be reached.
   * None of it is evicted until it is released, which must be after it was placed.
   * Throws `failed_precondition` naming all that the farm does not have.
   */
  ensure(files: readonly StoredFile[], signal: AbortSignal): Promise<Pin>;
  /** Whole blobs by key, fetched when they are not here; `failed_precondition` as for ensure. For small blobs. */
  readMany(digests: readonly Digest[], signal: AbortSignal): Promise<Map<DigestKey, Uint8Array>>;
  /** Puts an ensured file at a path, synchronously: many small calls are several times faster so. */
  place(file: StoredFile, path: string, how: "link" | "copy"): void;
  /**
   * Copies what a task made, so that the next one need not fetch it. Never throws: a copy that fails costs a fetch, and
   * is said. A link would leave the store writable for whatever has the file open.
   */
  keep(snapshot: Pick<Snapshot, "tree" | "files">, signal: AbortSignal): Promise<void>;
}

/** Blobs that stay until they are released, once. */
export interface Pin {
  release(): void;
}

export interface LocalStoreOptions {
  readonly files: BlobFiles;
  readonly farm: Pick<Cas, "read" | "readMany">;
  readonly patiently: Patiently;
  /** Told which files were used, for the sake of eviction. */
  readonly onUse: (files: readonly StoredFile[]) => void;
  /** How many hold each blob that must stay; what is not in it may be evicted at any time. */
  readonly pinned: Map<DigestKey, number>;
  /** Told what went wrong and was coped with. */
  readonly onError: (error: MillraceError) => void;
}

/** Small files written in one go before the event loop gets its turn. */
const writesPerTurn = 64;

export function localStore({ files, farm, patiently, onUse, pinned, onError }: LocalStoreOptions): LocalStore {
  /** Fetches under way; each ends with whether the farm had the blob. Bounded by what the running tasks need. */
  const fetching = new Map<DigestKey, Promise<boolean>>();

  function pin(digests: readonly Digest[]): Pin {
    const keys = digests.map(digestKey);
    for (const key of keys) pinned.set(key, (pinned.get(key) ?? 0) + 1);
    return {
      release() {
        for (const key of keys.splice(0)) {
          const others = (pinned.get(key) ?? 1) - 1;
          if (others > 0) pinned.set(key, others);
          else pinned.delete(key);
        }
      },
    };
  }

  async function keepFile(digest: Digest, path: string, signal: AbortSignal): Promise<void> {
    if (digest.sizeBytes <= limits.smallBlobBytes) files.put({ digest, data: await readFile(path, { signal }) });
    else await files.write(digest, createReadStream(path, { highWaterMark: limits.streamChunkBytes, signal }), signal);
  }

  async function putAll(blobs: Iterable<Blob>): Promise<void> {
    let written = 0;
    for (const blob of blobs) {
      files.put(blob);
      if (++written % writesPerTurn === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async function absent(digests: readonly Digest[]): Promise<Digest[]> {
    const missing: Digest[] = [];
    for (const digest of digests) {
      if (digest.sizeBytes === 0) continue;
      if ((await files.find({ digest, executable: false })) === undefined) missing.push(digest);
    }
    return missing;
  }

  async function fetchBatch(batch: readonly Digest[], signal: AbortSignal): Promise<Set<DigestKey>> {
    const found = await patiently(signal, "fetching inputs", () => farm.readMany(batch, signal));
    const blobs = batch.flatMap((digest) => {
      const data = found.get(digestKey(digest));
      return data === undefined ? [] : [{ digest, data }];
    });
    try {
      await putAll(blobs);
    } catch (error) {
      throw asSent(error);
    }
    return new Set(blobs.map(({ digest }) => digestKey(digest)));
  }

  async function fetchStream(digest: Digest, signal: AbortSignal): Promise<Set<DigestKey>> {
    try {
      await patiently(signal, `fetching input ${digestKey(digest)}`, () =>
        files.write(digest, farm.read(digest, {}, signal), signal),
      );
    } catch (error) {
      if (from(error).code === "not_found") return new Set();
      throw asSent(error);
    }
    return new Set([digestKey(digest)]);
  }

  /** Fetches what nobody else fetches; what the farm does not have is returned. */
  async function fetch(missing: readonly Digest[], signal: AbortSignal): Promise<Digest[]> {
    const mine = missing.filter((digest) => !fetching.has(digestKey(digest)));
    const others = missing.filter((digest) => fetching.has(digestKey(digest)));
    const waits = others.map(async (digest) => ({
      digest,
      had: await fetching.get(digestKey(digest))?.catch(() => false),
    }));
    const found = new Set<DigestKey>();
    const work = inParallel(
      [...batchesOf(mine)],
      async (batch, batchSignal) => {
        const [only] = batch;
        const large = batch.length === 1 && only !== undefined && only.sizeBytes > limits.smallBlobBytes;
        const fetched = large ? await fetchStream(only, batchSignal) : await fetchBatch(batch, batchSignal);
        for (const key of fetched) found.add(key);
      },
      signal,
    );
    for (const digest of mine) {
      const key = digestKey(digest);
      const had = work.then(() => found.has(key)).finally(() => fetching.delete(key));
      had.catch(() => {}); // the one who fetches hears it
      fetching.set(key, had);
    }
    await work;
    const notHere = mine.filter((digest) => !found.has(digestKey(digest)));
    const failedElsewhere: Digest[] = [];
    for (const { digest, had } of await Promise.all(waits)) if (had !== true) failedElsewhere.push(digest);
    // Another task's fetch may have ended with that task; what it leaves is ours to fetch.
    if (failedElsewhere.length > 0) notHere.push(...(await fetch(await absent(failedElsewhere), signal)));
    return notHere;
  }

  async function ensureBlobs(digests: readonly Digest[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const missing = await absent(digests);
    if (missing.length === 0) return;
    const lacking = await fetch(missing, signal);
    if (lacking.length > 0) throw missingBlobs(lacking, "fetching inputs");
  }

  return {
    async put(blobs) {
      const digests = distinct(blobs.map(({ digest }) => digest));
      const pins = pin(digests);
      try {
        const missing = new Set((await absent(digests)).map(digestKey));
        await putAll(blobs.filter(({ digest }) => missing.has(digestKey(digest))));
        onUse(digests.map((digest) => ({ digest, executable: false })));
        return pins;
      } catch (error) {
        pins.release();
        throw error;
      }
    },
    async ensure(wanted, signal) {
      const digests = distinct(wanted.map(({ digest }) => digest));
      const pins = pin(digests);
      try {
        await ensureBlobs(digests, signal);
        const executables = distinct(wanted.filter(({ executable }) => executable).map(({ digest }) => digest));
        for (const digest of executables) {
          if (digest.sizeBytes === 0 || (await files.find({ digest, executable: true })) !== undefined) continue;
          await files.makeExecutable(digest);
        }
        const isExecutable = new Set(executables.map(digestKey));
        onUse(digests.map((digest) => ({ digest, executable: isExecutable.has(digestKey(digest)) })));
        return pins;
      } catch (error) {
        pins.release();
        throw error;
      }
    },
    async readMany(digests, signal) {
      const pins = pin(digests);
      try {
        await ensureBlobs(distinct(digests), signal);
        const found = new Map<DigestKey, Uint8Array>([[digestKey(emptyDigest), new Uint8Array()]]);
        for (const digest of digests) {
          if (digest.sizeBytes > 0) found.set(digestKey(digest), await readWhole(files, digest));
        }
        onUse(digests.map((digest) => ({ digest, executable: false })));
        return found;
      } finally {
        pins.release();
      }
    },
    async keep({ tree: { directories }, files: made }, signal) {
      const blobs = [...directories.values()];
      const outputs = [...made].map(([key, path]) => ({ digest: parseDigestKey(key), path }));
      const wanted = outputs.filter(({ digest }) => digest.sizeBytes <= limits.keptOutputBytes);
      const digests = [...blobs, ...wanted].map(({ digest }) => digest);
      const pins = pin(digests);
      try {
        const missing = new Set((await absent(digests)).map(digestKey));
        await putAll(blobs.filter(({ digest }) => missing.has(digestKey(digest))));
        for (const { digest, path } of wanted) {
          signal.throwIfAborted();
          if (missing.has(digestKey(digest))) await keepFile(digest, path, signal);
        }
        onUse(digests.map((digest) => ({ digest, executable: false })));
      } catch (error) {
        if (!signal.aborted) onError(from(error, "keeping outputs for the next task"));
      } finally {
        pins.release();
      }
    },
    place: (file, path, how) => files.place(file, path, how),
  };
}

/** Bytes that are not those of their digest are nobody's argument when the farm has sent them. */
function asSent(error: unknown): unknown {
  const { code, message } = from(error);
  return code === "invalid_argument" ? new MillraceError("data_loss", message, { cause: error }) : error;
}

/** Small blobs together, each large one alone. */
function* batchesOf(digests: readonly Digest[]): Generator<Digest[]> {
  for (const digest of digests) if (digest.sizeBytes > limits.smallBlobBytes) yield [digest];
  const small = digests.filter(({ sizeBytes }) => sizeBytes <= limits.smallBlobBytes);
  yield* batches(small, (digest) => digest, limits.batchAdvertisedBytes);
}

async function readWhole(files: BlobFiles, digest: Digest): Promise<Uint8Array> {
  const path = await files.find({ digest, executable: false });
  if (path === undefined)
    throw new MillraceError("data_loss", `blob ${digestKey(digest)} vanished from the local store`);
  const data = new Uint8Array(digest.sizeBytes);
  let filled = 0;
  for await (const chunk of readFileRange(path, digest.sizeBytes, { start: 0, end: digest.sizeBytes })) {
    data.set(chunk, filled);
    filled += chunk.byteLength;
  }
  return data;
}

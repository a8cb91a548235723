import { randomUUID } from "node:crypto";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { chmod, constants, copyFile, open, rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import type { Blob } from "../../shared/cas/cas.ts";
import { checkBlob, checkedSource } from "../../shared/cas/checked-source.ts";
import { readFileRange, writeFully } from "../../shared/cas/files.ts";
import { type Digest, digestEquals, digestKey, hasher } from "../../shared/digest.ts";

/** A blob as a task sees it. */
export interface StoredFile {
  readonly digest: Digest;
  readonly executable: boolean;
}

/** Blobs as read-only files, so that input trees can be hard-linked from them. */
export interface BlobFiles {
  /** Where the file is, when it is there and its bytes are right; a damaged one is removed. */
  find(file: StoredFile): Promise<string | undefined>;
  /** A small blob. Throws `invalid_argument` when the bytes are not those of the digest. */
  put(blob: Blob): void;
  /** A blob of any size; `invalid_argument` as for put. */
  write(digest: Digest, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void>;
  /** Makes the executable variant of a blob that is there. */
  makeExecutable(digest: Digest): Promise<void>;
  /** Puts the file at a path of a task's tree. It must have been found before. */
  place(file: StoredFile, path: string, how: "link" | "copy"): void;
  /** All that is there, by name and size alone. Synchronous: about 4 µs a file. */
  list(): Generator<StoredFile>;
  /** Removes all variants of a blob. Links that were made of it stay. */
  remove(digest: Digest): void;
}

/**
 * Every file of the store, and so every input, has this modification time: tools that compare times see inputs of one
 * age, archives do not differ from one machine to another, and a write through a hard link betrays itself.
 */
const fileTime = new Date(Date.UTC(2000, 0, 1));

/**
 * Files under `folder`, made when it is not there.
 *
 * A file counts as right once this process has written it or hashed it, and as long as size and time are untouched. So a
 * blob that lost power while it was written, or that rotted, is found out at its first use and fetched again; no write
 * waits for the disk.
 */
export function openBlobFiles(folder: string): BlobFiles {
  const trusted = new Set<string>();
  const temporary = join(folder, "temporary");
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  /** Folders that exist: at most 256. */
  const prefixes = new Set<string>();

  const pathOf = ({ digest: { hash }, executable }: StoredFile) => {
    const prefix = hash.slice(0, 2);
    if (!prefixes.has(prefix)) mkdirSync(join(folder, prefix), { recursive: true });
    prefixes.add(prefix);
    return join(folder, prefix, executable ? `${hash}.x` : hash);
  };
  const keyOf = ({ digest, executable }: StoredFile) => `${digestKey(digest)}${executable ? "x" : ""}`;
  const temporaryPath = () => join(temporary, randomUUID());
  const modeOf = ({ executable }: StoredFile) => (executable ? 0o555 : 0o444);

  return {
    *list() {
      for (const prefix of readdirSync(folder)) {
        if (!/^[0-9a-f]{2}$/.test(prefix)) continue;
        for (const name of readdirSync(join(folder, prefix))) {
          const [, hash, variant] = /^([0-9a-f]{64})(\.x)?$/.exec(name) ?? [];
          const stat = lstatSync(join(folder, prefix, name), { throwIfNoEntry: false });
          if (hash === undefined || stat === undefined) continue;
          yield { digest: { hash, sizeBytes: stat.size }, executable: variant !== undefined };
        }
      }
    },
    remove(digest) {
      for (const executable of [false, true]) {
        rmSync(pathOf({ digest, executable }), { force: true });
        trusted.delete(keyOf({ digest, executable }));
      }
    },
    async find(file) {
      const path = pathOf(file);
      const stat = lstatSync(path, { throwIfNoEntry: false });
      if (stat === undefined) return undefined;
      if (stat.size === file.digest.sizeBytes && stat.mtimeMs === fileTime.getTime()) {
        if (trusted.has(keyOf(file))) return path;
        if (await holds(path, file.digest)) {
          trusted.add(keyOf(file));
          return path;
        }
      }
      trusted.delete(keyOf(file));
      await rm(path, { force: true });
      return undefined;
    },
    put(blob) {
      checkBlob(blob);
      const file = { digest: blob.digest, executable: false };
      const temporaryFile = temporaryPath();
      writeFileSync(temporaryFile, blob.data);
      chmodSync(temporaryFile, modeOf(file));
      utimesSync(temporaryFile, fileTime, fileTime);
      renameSync(temporaryFile, pathOf(file));
      trusted.add(keyOf(file));
    },
    async write(digest, source, signal) {
      const file = { digest, executable: false };
      const temporaryFile = temporaryPath();
      try {
        await using handle = await open(temporaryFile, "wx");
        for await (const chunk of checkedSource(digest, source, signal)) await writeFully(handle, chunk);
        await handle.chmod(modeOf(file));
        await handle.utimes(fileTime, fileTime);
        await rename(temporaryFile, pathOf(file));
      } catch (error) {
        await rm(temporaryFile, { force: true });
        throw error;
      }
      trusted.add(keyOf(file));
    },
    async makeExecutable(digest) {
      const file = { digest, executable: true };
      const temporaryFile = temporaryPath();
      // A copy and not a link: the mode belongs to the inode.
      await copyFile(pathOf({ digest, executable: false }), temporaryFile, constants.COPYFILE_FICLONE);
      await chmod(temporaryFile, modeOf(file));
      await utimes(temporaryFile, fileTime, fileTime);
      await rename(temporaryFile, pathOf(file));
      trusted.add(keyOf(file));
    },
    place(file, path, how) {
      // Everything empty is one blob, and file systems bound the links to one file.
      if (how === "link" && file.digest.sizeBytes > 0 && linked(pathOf(file), path)) return;
      writeFileSync(path, file.digest.sizeBytes === 0 ? "" : readFileSync(pathOf(file)), { mode: modeOf(file) });
      utimesSync(path, fileTime, fileTime);
    },
  };
}

/** False when the file has as many links as the file system allows. */
function linked(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EMLINK") return false;
    throw error;
  }
}

async function holds(path: string, digest: Digest): Promise<boolean> {
  const hash = hasher();
  for await (const chunk of readFileRange(path, digest.sizeBytes, { start: 0, end: digest.sizeBytes }))
    hash.update(chunk);
  return digestEquals(hash.digest(), digest);
}

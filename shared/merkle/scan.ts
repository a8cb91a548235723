import {
  type BigIntStats,
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type DigestKey, digestKey, digestOf, emptyDigest, hasher } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { type FileStats, fileStatsOf } from "../stat-cache/file-stats.ts";
import type { KnownFiles, ScannedFile } from "../stat-cache/stat-cache.ts";
import { buildTree, type MerkleTree } from "./build-tree.ts";
import type { TreeEntry } from "./tree-entry.ts";
import { byPath, isUtf8, quoted, symlinkProblem } from "./tree-path.ts";

/** A directory on disk at one moment. */
export interface Snapshot {
  /** Sorted by path. */
  readonly entries: readonly TreeEntry[];
  readonly tree: MerkleTree;
  /** Where the bytes of each file are: absolute paths. */
  readonly files: ReadonlyMap<DigestKey, string>;
}

/** A snapshot with what a stat cache remembers of it. */
export interface ScannedTree extends Snapshot {
  readonly scanned: readonly ScannedFile[];
  /** Files whose bytes were read, for their digests were not known. */
  readonly filesRead: number;
  /** Files and Directories of it that were part of an earlier snapshot, as far as `known` tells. */
  readonly known: ReadonlySet<DigestKey>;
}

export interface ScanOptions {
  /** True leaves the path (relative, with `/`) out; a directory with all below it. */
  readonly ignore?: (path: string, isDirectory: boolean) => boolean;
  readonly signal?: AbortSignal;
  /** Files that need not be read. It may still be loading: it is waited for when all stats are taken. */
  readonly known?: KnownFiles | Promise<KnownFiles>;
}

/** Met on the walk, not read yet. */
interface FoundFile {
  readonly path: string;
  readonly stats: FileStats;
  readonly executable: boolean;
}

/** Hashing this many bytes takes about 5 ms; then the event loop gets its turn. */
const sliceBytes = 8 * 1024 * 1024;
/** What a file costs beside its bytes, in the same unit. */
const fileCostBytes = 16 * 1024;
/** What an entry costs that is only looked at. */
const entryCostBytes = 8 * 1024;
const ownerExecutes = BigInt(constants.S_IXUSR);

/**
 * Reads and hashes a directory. The calls are synchronous, for on many small files that is three times as fast as
 * promises, in slices of about 5 ms. A directory in which everything is ignored is left out: a fresh checkout would not
 * have it, and the same sources must have the same digest; one that is empty on disk is kept.
 * @throws MillraceError not_found when `dir` is no directory; invalid_argument for what cannot be an input (a socket, a
 * device, a symlink that leads out, a name that is not UTF-8); aborted when something vanished while it was read.
 */
export async function scanTree(dir: string, options: ScanOptions = {}): Promise<ScannedTree> {
  const root = resolve(dir);
  options.signal?.throwIfAborted();
  const breathe = breathing(options.signal);
  const { entries, found } = await walk(root, options.ignore, breathe);
  const known = await options.known;
  const hashFile = fileHasher(root, breathe);
  const files = new Map<DigestKey, string>();
  const scanned: ScannedFile[] = [];
  const recognised = new Set<DigestKey>();
  let filesRead = 0;
  for (const { path, stats, executable } of found) {
    const digest = known?.digestOf(path, stats);
    const file = digest === undefined ? await hashFile(path) : { path, stats, digest };
    if (digest === undefined) filesRead++;
    scanned.push(file);
    entries.push({ path, node: { kind: "file", digest: file.digest, executable } });
    const key = digestKey(file.digest);
    if (digest !== undefined) recognised.add(key);
    files.set(key, `${root}/${path}`);
  }
  entries.sort(byPath);
  const tree = buildTree(entries);
  for (const key of tree.directories.keys()) if (known?.hadDirectory(key) === true) recognised.add(key);
  return { entries, tree, files, scanned, filesRead, known: recognised };
}

type Breathe = (bytes: number) => Promise<void> | undefined;

/** Gives the event loop its turn when enough was done; nothing to wait for until then. */
function breathing(signal: AbortSignal | undefined): Breathe {
  let cost = 0;
  return (bytes) => {
    cost += bytes;
    if (cost < sliceBytes) return undefined;
    cost = 0;
    return setImmediate().then(() => signal?.throwIfAborted());
  };
}

/** Everything below `root`: files apart, as their digests are not known. */
async function walk(
  root: string,
  ignore: ScanOptions["ignore"],
  breathe: Breathe,
): Promise<{ entries: TreeEntry[]; found: FoundFile[] }> {
  const entries: TreeEntry[] = [];
  const found: FoundFile[] = [];

  async function visit(path: string, depth: number): Promise<void> {
    if (depth > limits.treeDepth) {
      throw new MillraceError("invalid_argument", `${quoted(path)} lies deeper than ${limits.treeDepth} levels`);
    }
    const names = reading(root, path, () => readdirSync(join(root, path)));
    if (names.length === 0 && path !== "") entries.push({ path, node: { kind: "directory", digest: emptyDigest } });
    for (const name of names) {
      const child = path === "" ? name : `${path}/${name}`;
      if (visitEntry(child)) await visit(child, depth + 1);
      else await breathe(entryCostBytes);
    }
  }

  /** True when it is a directory to be visited. */
  function visitEntry(path: string): boolean {
    const absolute = `${root}/${path}`;
    if (!isUtf8(path)) throw new MillraceError("invalid_argument", `${quoted(path)}: the name is not valid UTF-8`);
    const stats = reading(root, path, () => lstatSync(absolute, { bigint: true }));
    if (ignore?.(path, stats.isDirectory())) return false;
    if (stats.isDirectory()) return true;
    if (entries.length + found.length >= limits.treeEntries) {
      throw new MillraceError(
        "invalid_argument",
        `${root} has more than ${limits.treeEntries} files; ignore what is no input`,
      );
    }
    if (stats.isSymbolicLink()) {
      const target = reading(root, path, () => readlinkSync(absolute));
      const problem = symlinkProblem(path, target);
      if (problem !== undefined) {
        throw new MillraceError("invalid_argument", `symlink ${quoted(path)}: its target ${quoted(target)} ${problem}`);
      }
      entries.push({ path, node: { kind: "symlink", target } });
    } else if (stats.isFile()) {
      found.push({ path, stats: fileStatsOf(stats), executable: (stats.mode & ownerExecutes) !== 0n });
    } else {
      throw new MillraceError(
        "invalid_argument",
        `${quoted(path)} is ${kindOf(stats)}, which cannot be an input; remove or ignore it`,
      );
    }
    return false;
  }

  await visit("", 0);
  return { entries, found };
}

/** Hashes one file after another, with one buffer for all. */
function fileHasher(root: string, breathe: Breathe): (path: string) => Promise<ScannedFile> {
  const buffer = Buffer.allocUnsafeSlow(limits.streamChunkBytes);

  return async (path) => {
    await breathe(fileCostBytes);
    // Not through a symlink, and without waiting for a writer, should the file have been replaced since.
    const flags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
    const file = reading(root, path, () => openSync(join(root, path), flags));
    try {
      // Before the first byte is read: should the file change now, it will not look like this again.
      const stats = fileStatsOf(fstatSync(file, { bigint: true }));
      if (stats.sizeBytes < buffer.byteLength) {
        const bytesRead = readSync(file, buffer, 0, buffer.byteLength, null);
        if (bytesRead === stats.sizeBytes) {
          await breathe(bytesRead);
          return { path, stats, digest: digestOf(buffer.subarray(0, bytesRead)) };
        }
      }
      const hash = hasher();
      for (let position = 0; ; ) {
        const bytesRead = readSync(file, buffer, 0, buffer.byteLength, position);
        if (bytesRead === 0) return { path, stats, digest: hash.digest() };
        hash.update(buffer.subarray(0, bytesRead));
        position += bytesRead;
        await breathe(bytesRead);
      }
    } finally {
      closeSync(file);
    }
  };
}

function reading<T>(root: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    const failure = from(error, `reading ${join(root, path)}`);
    if (path === "" || failure.code !== "not_found") throw failure;
    throw new MillraceError("aborted", `${quoted(path)} vanished while ${root} was being read; try again`, {
      cause: error,
    });
  }
}

function kindOf(stats: BigIntStats): string {
  if (stats.isSocket()) return "a socket";
  if (stats.isFIFO()) return "a named pipe";
  return "a device";
}

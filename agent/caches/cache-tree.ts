import { hash } from "node:crypto";
import {
  chmodSync,
  constants,
  copyFileSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  type Stats,
  symlinkSync,
  utimesSync,
} from "node:fs";
import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";

/** One thing in a cache, as `lstat` sees it. What is neither file nor folder nor symlink is not in a cache. */
export interface CacheEntry {
  /** Relative to the top of the cache. */
  readonly path: string;
  readonly kind: "file" | "folder" | "symlink";
  /** Permission bits alone: a cache carries no set-user-id programs from task to task. */
  readonly mode: number;
  /** Of a file; 0 of all else. */
  readonly sizeBytes: number;
  /** Of a file, rounded, since copies keep no more; 0 of all else. */
  readonly mtimeMs: number;
  readonly inode: number;
  /** Of a symlink. */
  readonly target: string;
}

/** Between two turns of the event loop: a few milliseconds. */
const entriesPerTurn = 256;

/**
 * What is below a folder, folders before what is in them, in an order of its own that is always the same. Follows no symlink.
 * @throws MillraceError resource_exhausted above `limits.namedCacheEntries`; what `readdir` and `lstat` throw
 */
export async function readCache(top: string): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  const folders = [""];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    for (const name of readdirSync(join(top, folder)).sort()) {
      const path = folder === "" ? name : `${folder}/${name}`;
      const entry = entryOf(top, path);
      if (entry === undefined) continue;
      entries.push(entry);
      if (entry.kind === "folder") folders.push(path);
      if (entries.length % entriesPerTurn === 0) await turn();
      if (entries.length > limits.namedCacheEntries) {
        throw new MillraceError("resource_exhausted", `it has more than ${limits.namedCacheEntries} files and folders`);
      }
    }
  }
  return entries;
}

function entryOf(top: string, path: string): CacheEntry | undefined {
  const stats = lstatSync(join(top, path));
  const kind = kindOf(stats);
  if (kind === undefined) return undefined;
  const isFile = kind === "file";
  return {
    ...{ path, kind, inode: stats.ino },
    mode: kind === "symlink" ? 0 : stats.mode & 0o777,
    sizeBytes: isFile ? stats.size : 0,
    mtimeMs: isFile ? Math.round(stats.mtimeMs) : 0,
    target: kind === "symlink" ? readlinkSync(join(top, path)) : "",
  };
}

function kindOf(stats: Stats): CacheEntry["kind"] | undefined {
  if (stats.isFile()) return "file";
  if (stats.isDirectory()) return "folder";
  return stats.isSymbolicLink() ? "symlink" : undefined;
}

/**
 * Equal for caches of the same names, modes, sizes and times: tells a cache that nobody touched from one that lost a file,
 * was cut short, or was written to. It does not read files.
 */
export function fingerprintOf(entries: readonly CacheEntry[]): string {
  const lines = entries.map(({ path, kind, mode, sizeBytes, mtimeMs, target }) =>
    // The mode of a folder is made usable when it is copied.
    JSON.stringify([path, kind, kind === "folder" ? 0 : mode, sizeBytes, mtimeMs, target]),
  );
  return hash("sha256", lines.join("\n"));
}

/**
 * Makes a cache below `to`, which must not be there. Bytes are copied, and never linked, from where a task wrote: a
 * process that outlived it may have the file open.
 * @param shared the path of a file that nobody writes to and that is this very entry; it is linked instead
 */
export async function copyCache(
  { from, entries }: { readonly from: string; readonly entries: readonly CacheEntry[] },
  to: string,
  shared: (entry: CacheEntry) => string | undefined,
): Promise<void> {
  mkdirSync(to, { recursive: true });
  for (const [index, entry] of entries.entries()) {
    const target = join(to, entry.path);
    switch (entry.kind) {
      case "folder":
        mkdirSync(target);
        chmodSync(target, entry.mode | 0o700);
        break;
      case "symlink":
        symlinkSync(entry.target, target);
        break;
      case "file":
        placeFile(join(from, entry.path), target, entry, shared(entry));
        break;
      default:
        entry.kind satisfies never;
    }
    if (index % entriesPerTurn === 0) await turn();
  }
}

function placeFile(source: string, target: string, { mode, mtimeMs }: CacheEntry, shared: string | undefined): void {
  if (shared !== undefined) {
    linkSync(shared, target);
    return;
  }
  copyFileSync(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  chmodSync(target, mode);
  utimesSync(target, mtimeMs / 1000, mtimeMs / 1000);
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

import { hash } from "node:crypto";
import { lstatSync, type Stats } from "node:fs";
import { join } from "node:path";
import { from, MillraceError } from "../../shared/errors.ts";
import type { CacheLabel, CacheShelf, CacheVersion } from "./cache-shelf.ts";
import { type CacheEntry, copyCache, fingerprintOf, readCache } from "./cache-tree.ts";
import type { HeldCache, LeftRoot, NamedCaches } from "./named-caches.ts";

export interface FolderCachesOptions {
  readonly shelf: CacheShelf;
  /** A cache has changed: its size counts. */
  readonly onKept: () => void;
  readonly onError: (error: MillraceError) => void;
}

/** What a task holds, as its holder sees it and as it is here. */
interface Hold extends CacheLabel {
  readonly path: string;
  readonly version: CacheVersion | undefined;
}

/** Caches as folders that are read through a layer, copied when a task has succeeded, and exchanged as a whole. */
export function folderCaches({ shelf, onKept, onError }: FolderCachesOptions): NamedCaches {
  const holds = new WeakMap<HeldCache, Hold>();
  /** Whether a version is still what was kept: looked at once in each start of the agent. */
  const checked = new WeakMap<CacheVersion, Promise<boolean>>();

  async function takeSound({ id, project, name }: CacheLabel, path: string): Promise<CacheVersion | undefined> {
    const version = shelf.take(id);
    if (version === undefined) return undefined;
    const sound = checked.get(version) ?? isSound(version, path);
    checked.set(version, sound);
    if (await sound) return version;
    shelf.drop(id, version);
    shelf.release(version);
    const said = `the named cache "${name}" of project "${project}" is not what was kept: it is dropped`;
    onError(new MillraceError("data_loss", said));
    return undefined;
  }

  async function keepOne({ path, version, ...label }: Hold, left: LeftRoot): Promise<void> {
    const stats = statBelow(left.path, path);
    if (stats === undefined) {
      if (version !== undefined) shelf.drop(label.id, version);
      return;
    }
    if (!stats.isDirectory()) throw new MillraceError("failed_precondition", `the task left no folder at "${path}"`);
    const entries = await readCache(join(left.path, path));
    const fingerprint = fingerprintOf(entries);
    if (fingerprint === version?.fingerprint) return;
    if (entries.length === 0) {
      if (version !== undefined) shelf.drop(label.id, version);
      return;
    }
    const folder = shelf.newFolder(label.id);
    try {
      const shared = version === undefined ? () => undefined : unwritten(join(version.folder, path), left, path);
      await copyCache({ from: join(left.path, path), entries }, join(folder, path), shared);
      if (fingerprintOf(await readCache(join(folder, path))) !== fingerprint) {
        throw new MillraceError("aborted", "something wrote to it after the task had ended");
      }
      const sizeBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0);
      const made = { folder, fingerprint, sizeBytes };
      checked.set(made, Promise.resolve(true));
      await shelf.put(label, made);
    } catch (error) {
      shelf.remove(folder);
      throw error;
    }
    onKept();
  }

  return {
    async hold({ project, caches }, tools) {
      const held: HeldCache[] = [];
      for (const { name, path } of caches) {
        const label = { id: idOf(project, name, path, tools), project, name };
        const version = await takeSound(label, path);
        const cache = {
          ...{ path, layer: version?.folder },
          release: () => {
            if (version !== undefined) shelf.release(version);
          },
        };
        holds.set(cache, { ...label, path, version });
        held.push(cache);
      }
      return held;
    },
    async keep(held, root) {
      const found = held.flatMap((cache) => holds.get(cache) ?? []);
      const say = (error: unknown, { name, project }: Hold) =>
        onError(from(error, `the named cache "${name}" of project "${project}" stays as it was`));
      try {
        const look = await root.look();
        try {
          for (const hold of found) await keepOne(hold, look).catch((error: unknown) => say(error, hold));
        } finally {
          await look.close();
        }
      } catch (error) {
        for (const hold of found) say(error, hold);
      }
    },
    close: () => shelf.close(),
  };
}

/** Also the name of a folder, so nothing that a person wrote is in it. */
function idOf(project: string, name: string, path: string, tools: readonly string[]): string {
  return hash("sha256", JSON.stringify([project, name, path, ...[...tools].sort()])).slice(0, 32);
}

async function isSound({ folder, fingerprint }: CacheVersion, path: string): Promise<boolean> {
  try {
    return fingerprintOf(await readCache(join(folder, path))) === fingerprint;
  } catch {
    return false; // whatever it is that cannot be read: such a cache is worth nothing
  }
}

/**
 * Files of the version before that the task did not write to, to be linked instead of copied: nothing was written at
 * their path, and they are the same file by inode and fingerprint (a renamed folder may show another one there).
 */
function unwritten(before: string, left: LeftRoot, path: string): (entry: CacheEntry) => string | undefined {
  const { written } = left;
  if (written === undefined) return () => undefined;
  return (entry) => {
    if (lstatSync(join(written, path, entry.path), { throwIfNoEntry: false }) !== undefined) return undefined;
    const file = join(before, entry.path);
    const stats = lstatSync(file, { throwIfNoEntry: false });
    const isSame =
      stats?.isFile() === true &&
      stats.ino === entry.inode &&
      stats.size === entry.sizeBytes &&
      Math.round(stats.mtimeMs) === entry.mtimeMs;
    return isSame ? file : undefined;
  };
}

/** What is at a path, without following a symlink on the way there; undefined when nothing is. */
function statBelow(root: string, path: string): Stats | undefined {
  const names = path.split("/");
  let stats: Stats | undefined;
  for (const [index] of names.entries()) {
    stats = lstatSync(join(root, ...names.slice(0, index + 1)), { throwIfNoEntry: false });
    if (stats?.isDirectory() !== true) return stats;
  }
  return stats;
}

import { randomUUID } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { rename, rm, symlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Digest, digestEquals, digestKey } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { scanTree } from "../../shared/merkle/scan.ts";
import type { TreeEntry } from "../../shared/merkle/tree-entry.ts";
import { removeTree } from "../../shared/remove-tree.ts";
import { fetchTree } from "../input-root/input-trees.ts";
import { layOut } from "../input-root/lay-out.ts";
import type { LocalStore } from "../store/local-store.ts";

/** The releases of one app on this host: `releases/<hash>` each, and `current`, a symlink to one of them. */
export interface ReleaseFolder {
  /** `…/current`. */
  readonly current: string;
  /** Has the release here, read-only, every byte hashed. Throws as `LocalStore.ensure` does. */
  ensure(store: LocalStore, release: Digest, signal: AbortSignal): Promise<void>;
  /** Points `current` at a release that is here, in one step. */
  flip(release: Digest): Promise<void>;
  /** Takes `current` away. */
  clear(): Promise<void>;
  /** Removes releases that nobody goes back to: the newest few stay, and those that are named. */
  retain(named: readonly Digest[]): Promise<void>;
}

export function releaseFolder(folder: string): ReleaseFolder {
  const releases = join(folder, "releases");
  const current = join(folder, "current");
  const pathOf = ({ hash }: Digest) => join(releases, hash);

  return {
    current,
    async ensure(store, release, signal) {
      const path = pathOf(release);
      if (existsSync(path) && (await isRight(path, release, signal))) return;
      mkdirSync(releases, { recursive: true });
      // Beside its place: a folder that is closed can be renamed, but not moved.
      const unfinished = join(releases, `unfinished-${randomUUID()}`);
      try {
        const { entries, pin } = await fetchTree(store, release, signal);
        // A copy: what runs for months must not share an inode with the store.
        await layOut(store, entries, unfinished, "copy").finally(() => pin.release());
        if (!(await isRight(unfinished, release, signal))) {
          throw new MillraceError("data_loss", `the release ${digestKey(release)} was not written as it was fetched`);
        }
        closeFolders(unfinished, entries);
        if (existsSync(path)) await rename(path, join(releases, `damaged-${randomUUID()}`));
        await rename(unfinished, path);
      } catch (error) {
        await removeTree(unfinished);
        throw error;
      }
    },
    async flip(release) {
      const next = join(folder, `current-${randomUUID()}`);
      await utimes(pathOf(release), new Date(), new Date()); // it is the newest now
      await symlink(join("releases", release.hash), next);
      await rename(next, current);
    },
    async clear() {
      await rm(current, { force: true });
    },
    async retain(named) {
      const keep = new Set(named.map(({ hash }) => hash));
      const names = readdirSync(releases).filter((name) => !keep.has(name));
      const others = names
        .filter((name) => /^[0-9a-f]{64}$/.test(name))
        .map((hash) => ({ path: join(releases, hash), mtimeMs: statSync(join(releases, hash)).mtimeMs }))
        .sort((a, b) => b.mtimeMs - a.mtimeMs);
      const old = others.slice(Math.max(0, limits.releasesKept + 1 - keep.size)).map(({ path }) => path);
      // What a crash left half done.
      const leftovers = [
        ...names.filter((name) => /^(unfinished|damaged)-/.test(name)).map((name) => join(releases, name)),
        ...readdirSync(folder).flatMap((name) => (name.startsWith("current-") ? [join(folder, name)] : [])),
      ];
      for (const path of [...old, ...leftovers]) await removeTree(path);
    },
  };
}

/** Whether the folder holds just the bytes of the release. */
async function isRight(path: string, release: Digest, signal: AbortSignal): Promise<boolean> {
  try {
    return digestEquals((await scanTree(path, { signal })).tree.root, release);
  } catch (error) {
    if (signal.aborted || from(error).code === "resource_exhausted") throw error;
    return false;
  }
}

/** Nothing can be added to a release or taken from it by accident. */
function closeFolders(folder: string, entries: readonly TreeEntry[]): void {
  const folders = new Set([folder]);
  for (const { path, node } of entries) {
    for (let parent = node.kind === "directory" ? path : dirname(path); parent !== "."; parent = dirname(parent)) {
      folders.add(join(folder, parent));
    }
  }
  for (const path of folders) chmodSync(path, 0o555);
}

import { randomUUID } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, type DigestKey, digestKey } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { loadTree, walkDirectories } from "../../shared/merkle/load-tree.ts";
import type { TreeEntry } from "../../shared/merkle/tree-entry.ts";
import { removeTree } from "../../shared/remove-tree.ts";
import type { LocalStore, Pin } from "../store/local-store.ts";
import { layOut } from "./lay-out.ts";

/** A tree on disk that nobody may write to; it stays until it is released. */
export interface HeldTree {
  readonly path: string;
  release(): void;
}

/** Input trees hard-linked from the store, each made once for all tasks that read the same. */
export interface InputTrees {
  /** Fetches what is missing and lays the tree out. Throws as `LocalStore.ensure` does, and when the tree is hostile. */
  hold(root: Digest, signal: AbortSignal): Promise<HeldTree>;
  /** Removes every tree that no task uses: when the disk is short of room. */
  removeIdle(): Promise<void>;
  /** Waits for removals that are under way. */
  close(): Promise<void>;
}

interface Tree {
  readonly ready: Promise<string>;
  users: number;
}

/** Trees under `folder`, which is emptied first: what a crash left may be half a tree. */
export function inputTrees(store: LocalStore, folder: string, onError: (error: MillraceError) => void): InputTrees {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  /** In order of last use. Bounded by `limits.inputTreesKept` beside those in use. */
  const trees = new Map<DigestKey, Tree>();
  const removals = new Set<Promise<void>>();

  async function make(root: Digest, signal: AbortSignal): Promise<string> {
    const { entries, pin } = await fetchTree(store, root, signal);
    const unfinished = join(folder, `unfinished-${randomUUID()}`);
    try {
      await layOut(store, entries, unfinished, "link");
      // A name of its own each time: the last one of this digest may be on its way out.
      const path = join(folder, `${root.hash}-${randomUUID().slice(0, 8)}`);
      await rename(unfinished, path);
      return path;
    } catch (error) {
      await removeTree(unfinished);
      throw error;
    } finally {
      pin.release();
    }
  }

  function evict(keep: number): void {
    for (const [key, tree] of trees) {
      if (trees.size <= keep) return;
      if (tree.users > 0) continue;
      trees.delete(key);
      const removal = tree.ready
        .then(removeTree)
        .catch((error: unknown) => onError(from(error, "removing an input tree")))
        .finally(() => removals.delete(removal));
      removals.add(removal);
    }
  }

  return {
    async hold(root, signal) {
      const key = digestKey(root);
      for (;;) {
        const known = trees.get(key);
        const tree = known ?? { ready: make(root, signal), users: 0 };
        trees.delete(key);
        trees.set(key, tree);
        tree.users += 1;
        const release = () => {
          tree.users -= 1;
          evict(limits.inputTreesKept);
        };
        try {
          return { path: await tree.ready, release };
        } catch (error) {
          tree.users -= 1;
          if (trees.get(key) === tree) trees.delete(key);
          // It was another task's making, and ended with that task: ours goes on.
          const othersEnd = known !== undefined && !signal.aborted && from(error).code === "canceled";
          if (!othersEnd) throw error;
        }
      }
    },
    async removeIdle() {
      evict(0);
      await Promise.all(removals);
    },
    async close() {
      await Promise.all(removals);
    },
  };
}

/** Whether a tree has no more than so many entries, and few bytes. Reads no more of it than that takes. */
export async function isSmallTree(
  store: Pick<LocalStore, "readMany">,
  root: Digest,
  { maxEntries, signal }: { readonly maxEntries: number; readonly signal: AbortSignal },
): Promise<boolean> {
  let entries = 0;
  let bytes = 0;
  const onMissing = () => {}; // whoever fetches the tree says so
  for await (const { nodes } of walkDirectories(store, root, { onMissing, signal })) {
    entries += nodes.size;
    for (const node of nodes.values()) if (node.kind === "file") bytes += node.digest.sizeBytes;
    if (entries > maxEntries || bytes > limits.smallTreeBytes) return false;
  }
  return true;
}

/** The entries of a tree, all of whose files are in the store until the pin is released. */
export async function fetchTree(
  store: LocalStore,
  root: Digest,
  signal: AbortSignal,
): Promise<{ entries: TreeEntry[]; pin: Pin }> {
  const entries = await loadTree({ readMany: (digests) => store.readMany(digests, signal) }, root, signal);
  const pin = await store.ensure(
    entries.flatMap(({ node }) => (node.kind === "file" ? [node] : [])),
    signal,
  );
  return { entries, pin };
}

import { digestEquals } from "../digest.ts";
import type { TreeEntry, TreeNode } from "./tree-entry.ts";
import { byPath } from "./tree-path.ts";

/** A path that is in both trees and does not say the same. */
export interface ChangedEntry {
  readonly path: string;
  readonly before: TreeNode;
  readonly after: TreeNode;
}

/** What became of a tree; each list sorted by path. */
export interface TreeDiff {
  readonly added: readonly TreeEntry[];
  readonly removed: readonly TreeEntry[];
  /** Contents, executable bit, target or kind differ. */
  readonly changed: readonly ChangedEntry[];
}

/** Compares two sets of entries by path. Pure. */
export function diffEntries(before: Iterable<TreeEntry>, after: Iterable<TreeEntry>): TreeDiff {
  const old = new Map([...before].map(({ path, node }) => [path, node]));
  const added: TreeEntry[] = [];
  const changed: ChangedEntry[] = [];
  for (const entry of after) {
    const was = old.get(entry.path);
    if (was === undefined) added.push(entry);
    else if (!nodeEquals(was, entry.node)) changed.push({ path: entry.path, before: was, after: entry.node });
    old.delete(entry.path);
  }
  const removed = [...old].map(([path, node]) => ({ path, node }));
  return { added: added.sort(byPath), removed: removed.sort(byPath), changed: changed.sort(byPath) };
}

function nodeEquals(a: TreeNode, b: TreeNode): boolean {
  switch (a.kind) {
    case "file":
      return b.kind === "file" && a.executable === b.executable && digestEquals(a.digest, b.digest);
    case "symlink":
      return b.kind === "symlink" && a.target === b.target;
    case "directory":
      return b.kind === "directory" && digestEquals(a.digest, b.digest);
    default:
      return a satisfies never;
  }
}

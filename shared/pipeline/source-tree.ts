import type { Blob } from "../cas/cas.ts";
import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { limits } from "../limits.ts";
import { buildTree } from "../merkle/build-tree.ts";
import type { TreeEntry } from "../merkle/tree-entry.ts";
import { lowerBound } from "./path-order.ts";

/** Builds the input trees of one plan: parts of one source, which mostly have whole folders of it in common. */
export interface SourceTree {
  /** Root of the tree of those entries whose flag is 1; flags are in the order of the entries. */
  build(chosen: Uint8Array): Digest;
  /** Directories of all trees built so far, each once. */
  readonly directories: ReadonlyMap<DigestKey, Blob>;
  /** So many Directories had to be encoded that it was given up; what was built is then incomplete. */
  exhausted(): boolean;
}

/** A folder of the source: the entries from `start` up to `end` lie in it, of which `own` directly. */
interface Folder {
  readonly name: string;
  readonly start: number;
  readonly end: number;
  readonly own: readonly number[];
  readonly folders: readonly Folder[];
  /** Its tree when all of it is chosen; made when first asked for. */
  whole?: Digest;
}

/** @param sorted the source, as `sortedByPath` leaves it. */
export function sourceTree(sorted: readonly TreeEntry[]): SourceTree {
  const top = folderOf(sorted, "", { name: "", start: 0, end: sorted.length });
  const directories = new Map<DigestKey, Blob>();
  let nodesLeft = limits.plannedNodes;

  /** Undefined for a folder of which nothing is chosen. `counts[i]` entries are chosen before the i-th. */
  function build(folder: Folder, counts: Uint32Array): Digest | undefined {
    const count = (counts[folder.end] ?? 0) - (counts[folder.start] ?? 0);
    const isWhole = count === folder.end - folder.start;
    if (count === 0 && folder !== top) return undefined;
    if (isWhole && folder.whole !== undefined) return folder.whole;
    const nodes: TreeEntry[] = [];
    for (const index of folder.own) {
      const entry = sorted[index];
      const isChosen = counts[index] !== counts[index + 1];
      if (entry !== undefined && isChosen) nodes.push({ path: baseName(entry.path), node: entry.node });
    }
    for (const child of folder.folders) {
      const digest = nodesLeft < 0 ? undefined : build(child, counts);
      if (digest !== undefined) nodes.push({ path: child.name, node: { kind: "directory", digest } });
    }
    nodesLeft -= nodes.length;
    const level = buildTree(nodes);
    for (const blob of level.directories.values()) directories.set(digestKey(blob.digest), blob);
    if (isWhole) folder.whole = level.root;
    return level.root;
  }

  return {
    build(chosen) {
      const counts = new Uint32Array(chosen.length + 1);
      let count = 0;
      for (let index = 0; index < chosen.length; index++) {
        count += chosen[index] ?? 0;
        counts[index + 1] = count;
      }
      return build(top, counts) ?? buildTree([]).root;
    },
    directories,
    exhausted: () => nodesLeft < 0,
  };
}

function folderOf(
  sorted: readonly TreeEntry[],
  prefix: string,
  { name, start, end }: Pick<Folder, "name" | "start" | "end">,
): Folder {
  const own: number[] = [];
  const folders: Folder[] = [];
  for (let index = start; index < end; ) {
    const rest = (sorted[index]?.path ?? "").slice(prefix.length);
    const slash = rest.indexOf("/");
    if (slash < 0) {
      own.push(index);
      index += 1;
      continue;
    }
    const child = rest.slice(0, slash);
    const childEnd = lowerBound(sorted, `${prefix}${child}0`);
    folders.push(folderOf(sorted, `${prefix}${child}/`, { name: child, start: index, end: childEnd }));
    index = childEnd;
  }
  return { name, start, end, own, folders };
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

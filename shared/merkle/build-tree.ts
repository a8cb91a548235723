import type { Blob } from "../cas/cas.ts";
import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { encodeDirectory } from "./directory.ts";
import type { TreeEntry, TreeNode } from "./tree-entry.ts";
import { quoted, splitPath, targetProblem } from "./tree-path.ts";

/** A tree as REAPI stores it: Directory messages by digest, reached from the root. */
export interface MerkleTree {
  readonly root: Digest;
  /** Those that were built here; subtrees that were given by digest are not among them. */
  readonly directories: ReadonlyMap<DigestKey, Blob>;
}

/** A level that is still growing. */
type Level = Map<string, TreeNode | Level>;

/**
 * The Merkle tree of these entries, in whatever order they come; directories between them need not be named. Pure.
 * @throws MillraceError invalid_argument, naming the path, when a path occurs twice, could leave the tree or lies below
 * something that is not an open directory, or when the tree is too deep or too large.
 */
export function buildTree(entries: Iterable<TreeEntry>): MerkleTree {
  const root: Level = new Map();
  let count = 0;
  for (const entry of entries) {
    if (++count > limits.treeEntries) {
      throw new MillraceError("invalid_argument", `a tree may have ${limits.treeEntries} entries; this one has more`);
    }
    place(root, entry);
  }
  const directories = new Map<DigestKey, Blob>();
  return { root: seal(root, directories), directories };
}

function place(root: Level, { path, node }: TreeEntry): void {
  const names = splitPath(path);
  if (node.kind === "symlink") {
    const problem = targetProblem(node.target);
    if (problem !== undefined)
      throw new MillraceError("invalid_argument", `symlink ${quoted(path)}: its target ${problem}`);
  }
  let level = root;
  const last = names.length - 1;
  for (const [index, name] of names.entries()) {
    const there = level.get(name);
    if (index === last) {
      if (there !== undefined) throw twice(path, there);
      level.set(name, node);
    } else if (there === undefined) {
      const next: Level = new Map();
      level.set(name, next);
      level = next;
    } else if (there instanceof Map) {
      level = there;
    } else {
      const parent = names.slice(0, index + 1).join("/");
      throw new MillraceError(
        "invalid_argument",
        `path ${quoted(path)} lies below the ${there.kind} ${quoted(parent)}`,
      );
    }
  }
}

function twice(path: string, there: TreeNode | Level): MillraceError {
  const what = there instanceof Map ? "is also a directory with entries" : `occurs twice, first as a ${there.kind}`;
  return new MillraceError("invalid_argument", `path ${quoted(path)} ${what}`);
}

/** Encodes from the leaves up; recursion is bounded by `limits.treeDepth`. */
function seal(level: Level, directories: Map<DigestKey, Blob>): Digest {
  const nodes = new Map<string, TreeNode>();
  for (const [name, node] of level) {
    nodes.set(name, node instanceof Map ? { kind: "directory", digest: seal(node, directories) } : node);
  }
  const blob = encodeDirectory(nodes);
  directories.set(digestKey(blob.digest), blob);
  return blob.digest;
}

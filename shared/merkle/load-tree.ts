import { batches } from "../cas/batches.ts";
import type { Blob, Cas } from "../cas/cas.ts";
import { isEmptyBlob } from "../cas/distinct.ts";
import { missingBlobs } from "../cas/missing-blobs.ts";
import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { MillraceError } from "../errors.ts";
import { formatBytes } from "../format-bytes.ts";
import { limits } from "../limits.ts";
import type { MerkleTree } from "./build-tree.ts";
import { type DecodedDirectory, type DirectoryNodes, decodeDirectory } from "./directory.ts";
import type { TreeEntry } from "./tree-entry.ts";
import { byPath, quoted } from "./tree-path.ts";

type ReadMany = Pick<Cas, "readMany">;

/** A Directory met on the way down. */
export interface WalkedDirectory extends DecodedDirectory {
  readonly blob: Blob;
}

/**
 * Every Directory below `root`, each once, level by level with one `readMany` a batch. Absent ones go to `onMissing` and
 * the walk goes on beside them, so that one walk finds all that is missing.
 * @throws MillraceError invalid_argument when a Directory is hostile (see `decodeDirectory`) or the tree too deep or large.
 */
export async function* walkDirectories(
  cas: ReadMany,
  root: Digest,
  options: { readonly onMissing: (digest: Digest) => void; readonly signal?: AbortSignal | undefined },
): AsyncGenerator<WalkedDirectory> {
  const seen = new Set<DigestKey>();
  let bytes = 0;
  const notSeen = (digests: Iterable<Digest>): Digest[] => {
    const fresh: Digest[] = [];
    for (const digest of digests) {
      const key = digestKey(digest);
      if (seen.has(key)) continue;
      seen.add(key);
      bytes += digest.sizeBytes;
      if (digest.sizeBytes > limits.directoryBytes || seen.size > limits.treeEntries || bytes > limits.treeBytes) {
        const [one, all] = [formatBytes(limits.directoryBytes), formatBytes(limits.treeBytes)];
        throw new MillraceError(
          "invalid_argument",
          `tree ${digestKey(root)} is too large, at directory ${key}: a folder's list of names may take ${one}, all of them ${all}, and there may be ${limits.treeEntries} folders`,
        );
      }
      fresh.push(digest);
    }
    return fresh;
  };
  let level = notSeen([root]);
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > limits.treeDepth) {
      throw new MillraceError("invalid_argument", `tree ${digestKey(root)} has more than ${limits.treeDepth} levels`);
    }
    const next: Digest[] = [];
    for (const batch of batches(level, (digest) => digest, limits.batchAdvertisedBytes)) {
      const found = await cas.readMany(batch, options.signal);
      for (const digest of batch) {
        const data = found.get(digestKey(digest));
        if (data === undefined) {
          options.onMissing(digest);
          continue;
        }
        const decoded = decodeDirectory(digest, data);
        for (const node of decoded.nodes.values()) if (node.kind === "directory") next.push(node.digest);
        yield { ...decoded, blob: { digest, data } };
      }
    }
    level = notSeen(next);
  }
}

/**
 * Files, symlinks and empty directories of a stored tree, sorted by path; the inverse of `buildTree`.
 * @throws MillraceError failed_precondition naming every missing Directory; otherwise as `walkDirectories`.
 */
export async function loadTree(cas: ReadMany, root: Digest, signal?: AbortSignal): Promise<TreeEntry[]> {
  return (await readTree(cas, root, signal)).entries;
}

/** As `loadTree`, and the Directories that the tree is made of, each once. */
export async function readTree(
  cas: ReadMany,
  root: Digest,
  signal?: AbortSignal,
): Promise<{ readonly entries: TreeEntry[]; readonly directories: readonly Digest[] }> {
  const missing: Digest[] = [];
  const directories: Digest[] = [];
  const levels = new Map<DigestKey, DirectoryNodes>();
  for await (const { blob, nodes } of walkDirectories(cas, root, { onMissing: (each) => missing.push(each), signal })) {
    levels.set(digestKey(blob.digest), nodes);
    directories.push(blob.digest);
  }
  if (missing.length > 0) throw missingBlobs(missing, `reading the tree ${digestKey(root)}`);
  return { entries: unfold(root, (digest) => levels.get(digestKey(digest))), directories };
}

/**
 * The entries of a tree whose Directories are all at hand, sorted by path. Pure.
 * @throws MillraceError invalid_argument when it is hostile or lacks a Directory. A tree that reuses its Directories may
 * be small and yet unfold without end, so its entries are counted, each Directory once, before any is made.
 */
export function treeEntries({ root, directories }: MerkleTree): TreeEntry[] {
  return unfold(root, (digest) => {
    const data = isEmptyBlob(digest) ? new Uint8Array() : directories.get(digestKey(digest))?.data;
    return data === undefined ? undefined : decodeDirectory(digest, data).nodes;
  });
}

function unfold(root: Digest, nodesOf: (digest: Digest) => DirectoryNodes | undefined): TreeEntry[] {
  const levels = measureLevels(root, nodesOf);
  const entries: TreeEntry[] = [];
  const add = (nodes: DirectoryNodes, prefix: string): void => {
    for (const [name, node] of nodes) {
      const path = prefix + name;
      const below = node.kind === "directory" ? levels.get(digestKey(node.digest)) : undefined;
      if (below !== undefined && below.nodes.size > 0) add(below.nodes, `${path}/`);
      else entries.push({ path: checkedLength(path), node });
    }
  };
  add(levels.get(digestKey(root))?.nodes ?? new Map(), "");
  return entries.sort(byPath);
}

interface Level {
  readonly nodes: DirectoryNodes;
  /** Entries that it unfolds to. */
  readonly entries: number;
}

/** Asks for each Directory once, from the leaves up, within the limits of depth and entries. */
function measureLevels(
  root: Digest,
  nodesOf: (digest: Digest) => DirectoryNodes | undefined,
): ReadonlyMap<DigestKey, Level> {
  const levels = new Map<DigestKey, Level>();
  const refuse = (why: string): never => {
    throw new MillraceError("invalid_argument", `tree ${digestKey(root)} ${why}`);
  };
  const measure = (digest: Digest, depth: number): Level => {
    const key = digestKey(digest);
    if (depth > limits.treeDepth) refuse(`has more than ${limits.treeDepth} levels`);
    const known = levels.get(key);
    if (known !== undefined) return known;
    const nodes = nodesOf(digest) ?? refuse(`lacks its directory ${key}`);
    let entries = 0;
    for (const node of nodes.values()) {
      entries += node.kind === "directory" ? Math.max(1, measure(node.digest, depth + 1).entries) : 1;
    }
    if (entries > limits.treeEntries) refuse(`has more than ${limits.treeEntries} entries`);
    const level = { nodes, entries };
    levels.set(key, level);
    return level;
  };
  measure(root, 0);
  return levels;
}

function checkedLength(path: string): string {
  if (Buffer.byteLength(path) <= limits.pathBytes) return path;
  throw new MillraceError("invalid_argument", `path ${quoted(path)} is longer than ${limits.pathBytes} bytes`);
}

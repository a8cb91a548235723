import { batches } from "../../shared/cas/batches.ts";
import type { Blob, Cas } from "../../shared/cas/cas.ts";
import { inParallel } from "../../shared/cas/in-parallel.ts";
import { type Digest, type DigestKey, digestKey, digestOf, hasher } from "../../shared/digest.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { limits } from "../../shared/limits.ts";
import { encodeDirectory } from "../../shared/merkle/directory.ts";
import type { TreeNode } from "../../shared/merkle/tree-entry.ts";
import { quoted, targetProblem } from "../../shared/merkle/tree-path.ts";
import { Refused } from "../executor/executor.ts";
import type { Patiently } from "../retry.ts";
import { climbOf, type GitTreeEntry, isLfsPointer, parseGitTree, pathBelow } from "./git-tree.ts";
import type { ObjectMap, StoredObject } from "./object-map.ts";
import type { GitObject, ObjectReader } from "./object-reader.ts";

export interface ImportTreeOptions {
  readonly reader: ObjectReader;
  readonly objects: ObjectMap;
  readonly cas: Pick<Cas, "findMissing" | "write" | "writeMany">;
  readonly patiently: Patiently;
  /** Nothing is taken for known to be in the CAS. */
  readonly whole: boolean;
  /** Of all files together, each once: a small pack may unfold to any size. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

/** A tree in the CAS, and what it took to get it there. */
export interface ImportedTree {
  readonly root: Digest;
  readonly sentBlobs: number;
  readonly sentBytes: number;
}

/** Trees that have to be read, by object id, and the files and symlinks in them with a path of each. */
interface OpenTrees {
  readonly trees: ReadonlyMap<string, readonly GitTreeEntry[]>;
  readonly known: ReadonlyMap<string, StoredObject>;
  readonly files: ReadonlyMap<string, string>;
  readonly symlinks: ReadonlyMap<string, string>;
}

/**
 * Puts a tree of git into the CAS: the raw bytes of its files, whatever attributes say of line ends, filters or exports.
 * Trees that were imported before are not looked into, so a commit costs the folders on the way to what has changed.
 * @param tree object id
 * @throws Refused, naming the path, for what no source tree can hold
 */
export async function importTree(tree: string, options: ImportTreeOptions): Promise<ImportedTree> {
  const { objects, cas, patiently, signal } = options;
  const open = await openTrees(tree, options);
  const sent = { blobs: 0, bytes: 0 };
  /** Sends what is missing of these, which are in memory. */
  const send = async (blobs: readonly Blob[], inner: AbortSignal): Promise<void> => {
    await patiently(inner, "uploading the source", async () => {
      const absent = new Set(
        (
          await cas.findMissing(
            blobs.map(({ digest }) => digest),
            inner,
          )
        ).map(digestKey),
      );
      const missing = blobs.filter(({ digest }) => absent.delete(digestKey(digest)));
      await cas.writeMany(missing, inner);
      sent.blobs += missing.length;
      sent.bytes += missing.reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
    });
  };
  const files = await importFiles(open.files, options, send);
  const targets = await readSymlinks(open.symlinks, options);
  const { root, directories, made } = sealTrees(tree, { open, files, targets });
  await inParallel(
    batches(directories, ({ digest }) => digest, limits.batchAdvertisedBytes),
    send,
    signal,
  );
  sent.blobs += files.large.blobs;
  sent.bytes += files.large.bytes;
  // Only now: who finds an object here takes it that the CAS has it.
  await objects.add(new Map([...files.imported, ...made]));
  return { root, sentBlobs: sent.blobs, sentBytes: sent.bytes };
}

/** Reads trees level by level from the root down, each once wherever it occurs, but for those that are known. */
async function openTrees(root: string, { reader, objects, whole }: ImportTreeOptions): Promise<OpenTrees> {
  const trees = new Map<string, readonly GitTreeEntry[]>();
  const known = new Map<string, StoredObject>();
  const files = new Map<string, string>();
  const symlinks = new Map<string, string>();
  let entries = 0;
  let level = new Map([[root, ""]]);
  for (let depth = 0; level.size > 0; depth += 1) {
    if (depth > limits.treeDepth) {
      throw new Refused(`${quoted([...level.values()][0] ?? "")} lies deeper than ${limits.treeDepth} levels`);
    }
    if (!whole) for (const [oid, object] of await objects.find("tree", [...level.keys()])) known.set(oid, object);
    const next = new Map<string, string>();
    for await (const object of reader.read([...level.keys()].filter((oid) => !known.has(oid)))) {
      const path = level.get(object.oid) ?? "";
      requireType(object, "tree", path);
      if (object.sizeBytes > limits.gitTreeBytes) {
        const most = formatBytes(limits.gitTreeBytes);
        throw new Refused(`the folder ${quoted(path)} has more names than its most, ${most}, can hold: divide it`);
      }
      const parsed = parseGitTree(await object.whole(), path, object.oid.length / 2);
      trees.set(object.oid, parsed);
      entries += parsed.length;
      if (entries > limits.treeEntries)
        throw new Refused(`a source may have ${limits.treeEntries} files; this has more`);
      for (const { kind, oid, name } of parsed) {
        const below = pathBelow(path, name);
        if (kind === "symlink") symlinks.set(oid, below);
        else if (kind !== "tree") files.set(oid, below);
        else if (!trees.has(oid) && !known.has(oid)) next.set(oid, below);
      }
    }
    level = next;
  }
  return { trees, known, files, symlinks };
}

type Send = (blobs: readonly Blob[], signal: AbortSignal) => Promise<void>;

interface ImportedFiles {
  readonly imported: ReadonlyMap<string, StoredObject>;
  /** Of files too large for a batch, what was sent. */
  readonly large: { readonly blobs: number; readonly bytes: number };
}

/** Files that are known are not read; what is read is hashed and sent as it comes, a bounded part in memory. */
async function importFiles(
  paths: ReadonlyMap<string, string>,
  { reader, objects, cas, patiently, whole, maxBytes, signal }: ImportTreeOptions,
  send: Send,
): Promise<ImportedFiles> {
  const imported = await objects.find("blob", [...paths.keys()]);
  if (whole) {
    const digests = [...imported.values()].map(({ digest }) => digest);
    const gone = await patiently(signal, "looking for the source", () => cas.findMissing(digests, signal));
    const absent = new Set(gone.map(digestKey));
    for (const [oid, { digest }] of imported) if (absent.has(digestKey(digest))) imported.delete(oid);
  }
  const large = new Map<DigestKey, string>();
  const unread = [...paths.keys()].filter((oid) => !imported.has(oid));
  let bytesLeft = maxBytes;
  const count = (oid: string, sizeBytes: number) => {
    bytesLeft -= sizeBytes;
    if (bytesLeft >= 0) return;
    const path = quoted(paths.get(oid) ?? oid);
    throw new Refused(
      `${path} makes the source larger than ${formatBytes(maxBytes)}, which is the most: fetch what is large in a task`,
    );
  };
  for (const [oid, { digest }] of imported) count(oid, digest.sizeBytes);

  async function* small(): AsyncGenerator<Blob[]> {
    let batch: Blob[] = [];
    let bytes = 0;
    for await (const object of reader.read(unread)) {
      const { oid, sizeBytes } = object;
      requireType(object, "blob", paths.get(oid) ?? oid);
      count(oid, sizeBytes);
      if (sizeBytes > limits.smallBlobBytes) {
        const hash = hasher();
        for await (const piece of object.content()) hash.update(piece);
        const digest = hash.digest();
        imported.set(oid, { type: "blob", digest, climb: 0 });
        large.set(digestKey(digest), oid);
        continue;
      }
      const data = await object.whole();
      refusePointer(data, paths.get(oid) ?? oid);
      const digest = digestOf(data);
      imported.set(oid, { type: "blob", digest, climb: 0 });
      if (bytes + sizeBytes > limits.batchAdvertisedBytes || batch.length >= limits.findMissingSlice) {
        yield batch;
        batch = [];
        bytes = 0;
      }
      batch.push({ digest, data });
      bytes += sizeBytes;
    }
    if (batch.length > 0) yield batch;
  }
  await inParallel(small(), send, signal);
  return { imported, large: await sendLarge(large, imported) };

  /** Read a second time, so that none need be kept anywhere in between. */
  async function sendLarge(oids: ReadonlyMap<DigestKey, string>, known: ReadonlyMap<string, StoredObject>) {
    const digests = [...oids.values()].flatMap((oid) => known.get(oid)?.digest ?? []);
    const missing = await patiently(signal, "looking for the source", () => cas.findMissing(digests, signal));
    for (const digest of missing) {
      await patiently(signal, "uploading the source", async () => {
        for await (const object of reader.read([oids.get(digestKey(digest)) ?? ""])) {
          await cas.write(digest, object.content(), signal);
        }
      });
    }
    return { blobs: missing.length, bytes: missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
  }
}

/** A tree of git says by a mode what is below it, and git does not always look whether that is true. */
function requireType({ type }: Pick<GitObject, "type">, wanted: StoredObject["type"], path: string): void {
  if (type !== wanted)
    throw new Refused(`${quoted(path)} is no ${wanted} in git, but a ${type}: the repository is damaged`);
}

function refusePointer(data: Uint8Array, path: string): void {
  if (!isLfsPointer(data)) return;
  throw new Refused(
    `${quoted(path)} is kept in Git LFS, which imports do not read: keep the file in git, or fetch it in a task`,
  );
}

/** Their targets, by object id: small, and needed as text whether they are known or not. */
async function readSymlinks(paths: ReadonlyMap<string, string>, { reader }: ImportTreeOptions) {
  const targets = new Map<string, string>();
  for await (const object of reader.read([...paths.keys()])) {
    const path = paths.get(object.oid) ?? "";
    requireType(object, "blob", path);
    const isLong = object.sizeBytes > limits.pathBytes;
    const target = isLong ? "" : (await object.whole()).toString("utf8");
    const problem = isLong ? `is longer than ${limits.pathBytes} bytes` : targetProblem(target);
    if (problem !== undefined) throw new Refused(`symlink ${quoted(path)}: its target ${problem}`);
    targets.set(object.oid, target);
  }
  return targets;
}

interface Sealing {
  readonly open: OpenTrees;
  readonly files: ImportedFiles;
  readonly targets: ReadonlyMap<string, string>;
}

/** The Directories of the trees that were read, from the leaves up. Recursion is bounded by the depth of what was opened. */
function sealTrees(root: string, { open, files, targets }: Sealing) {
  const made = new Map<string, StoredObject>();
  const directories: Blob[] = [];

  function seal(oid: string, path: string): StoredObject {
    const known = made.get(oid) ?? open.known.get(oid);
    if (known !== undefined) return known;
    const nodes = new Map<string, TreeNode>();
    let climb = 0;
    for (const entry of open.trees.get(oid) ?? []) {
      const below = pathBelow(path, entry.name);
      const { node, climb: climbs } = nodeOf(entry, below);
      nodes.set(entry.name, node);
      climb = Math.max(climb, climbs);
      if (path === "" && climb > 0) throw new Refused(`symlink ${quoted(below)} leads out of the source`);
    }
    const blob = encodeDirectory(nodes);
    directories.push(blob);
    const object: StoredObject = { type: "tree", digest: blob.digest, climb };
    made.set(oid, object);
    return object;
  }

  function nodeOf({ kind, oid }: GitTreeEntry, path: string): { readonly node: TreeNode; readonly climb: number } {
    if (kind === "tree") {
      const { digest, climb } = seal(oid, path);
      return { node: { kind: "directory", digest }, climb: climb - 1 };
    }
    if (kind === "symlink") {
      const target = targets.get(oid) ?? "";
      const climb = climbOf(target);
      if (climb === undefined) {
        throw new Refused(`symlink ${quoted(path)}: its target ${quoted(target)} is absolute, or climbs behind a name`);
      }
      return { node: { kind: "symlink", target }, climb };
    }
    const digest = files.imported.get(oid)?.digest;
    if (digest === undefined) throw new Refused(`${quoted(path)} was not imported`);
    return { node: { kind: "file", digest, executable: kind === "executable" }, climb: 0 };
  }

  const { digest, climb } = seal(root, "");
  // A folder of an earlier commit may have become the whole source.
  if (climb > 0) throw new Refused("a symlink leads out of the source");
  return { root: digest, directories, made };
}

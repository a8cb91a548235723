import { once } from "node:events";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { type Extract, extract as extractTar, type Header, type Pack, pack as packTar } from "tar-stream";
import { batches } from "../cas/batches.ts";
import type { Blob, Cas } from "../cas/cas.ts";
import { collect } from "../cas/checked-source.ts";
import { gather, writeNewFile } from "../cas/files.ts";
import { missingBlobs } from "../cas/missing-blobs.ts";
import { type Digest, digestKey, digestOf, emptyDigest, hasher } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { formatBytes } from "../format-bytes.ts";
import { limits } from "../limits.ts";
import { buildTree } from "./build-tree.ts";
import { loadTree } from "./load-tree.ts";
import type { TreeEntry, TreeNode } from "./tree-entry.ts";
import { quoted, splitPath, symlinkProblem } from "./tree-path.ts";

/** The unit of a tar; two of zeros end it. */
const blockBytes = 512;

type Entry = Extract extends AsyncIterable<infer Source> ? Source : never;

/**
 * Stores what a tar holds and returns its root Directory. Owners and times are dropped; a hard link becomes the file that
 * it names. Small files go in batches; the digest of a large one is known only at its end, so it passes through a
 * temporary file.
 * @throws MillraceError invalid_argument, naming the entry, for names or symlinks that leave the tree, devices, duplicates,
 * more than `limits.archiveBytes`, or bytes that are no complete tar.
 */
export async function importTar(
  source: AsyncIterable<Uint8Array>,
  cas: Pick<Cas, "write" | "writeMany">,
  signal?: AbortSignal,
): Promise<Digest> {
  signal?.throwIfAborted();
  let tail: Uint8Array = new Uint8Array();
  const watched = passing(source, (chunk) => {
    tail = Buffer.concat([tail, chunk.subarray(-blockBytes)]).subarray(-blockBytes);
  });
  const input = Readable.from(watched, { highWaterMark: 2 });
  const archive = extractTar();
  let sourceFailure: unknown;
  let tarFailure: Error | undefined;
  const stop = (error: Error): void => {
    sourceFailure ??= error;
    archive.destroy(error);
  };
  input.on("error", stop);
  // Not by destroying the input: that waits for a source that may be silent for ever.
  const aborted = (): void => stop(from(signal?.reason));
  signal?.addEventListener("abort", aborted);
  archive.on("error", (error) => {
    tarFailure = error;
  });
  const intake = storeEntries(cas, signal);
  try {
    input.pipe(archive);
    for await (const entry of archive) await intake.add(entry);
    // One cut off between two entries would pass for a shorter one.
    if (tail.byteLength < blockBytes || tail.some((byte) => byte !== 0)) throw incomplete("it has no end marker");
    return await intake.finish();
  } catch (error) {
    if (tarFailure === undefined || sourceFailure !== undefined) throw sourceFailure ?? error;
    throw incomplete(tarFailure.message, tarFailure);
  } finally {
    signal?.removeEventListener("abort", aborted);
    input.destroy();
    await intake.discard();
  }
}

/** Takes entries one at a time and holds at most one batch of small files. */
function storeEntries(cas: Pick<Cas, "write" | "writeMany">, signal: AbortSignal | undefined) {
  const nodes = new Map<string, TreeNode>();
  const directories = new Set<string>();
  let batch: Blob[] = [];
  let batchBytes = 0;
  let totalBytes = 0;
  let spool: string | undefined;

  async function flush(): Promise<void> {
    if (batch.length > 0) await cas.writeMany(batch, signal);
    batch = [];
    batchBytes = 0;
  }

  async function storeFile(entry: Entry, sizeBytes: number): Promise<Digest> {
    if (sizeBytes > limits.smallBlobBytes) return await storeLarge(entry);
    const data = await collect(bytesOf(entry), sizeBytes);
    const digest = digestOf(data);
    if (batchBytes + sizeBytes > limits.batchAdvertisedBytes) await flush();
    batch.push({ digest, data });
    batchBytes += sizeBytes;
    return digest;
  }

  async function storeLarge(entry: Entry): Promise<Digest> {
    spool ??= await mkdtemp(join(tmpdir(), "millrace-tar-"));
    const path = join(spool, "file");
    const hash = hasher();
    await writeNewFile(
      path,
      passing(bytesOf(entry), (chunk) => hash.update(chunk)),
      { durable: false },
    );
    const digest = hash.digest();
    await cas.write(digest, createReadStream(path, { highWaterMark: limits.streamChunkBytes }), signal);
    await rm(path);
    return digest;
  }

  async function nodeOf(entry: Entry, path: string): Promise<TreeNode> {
    const { type, size, mode, linkname } = entry.header;
    switch (type) {
      case "file":
      case "contiguous-file":
        totalBytes += size;
        if (totalBytes > limits.archiveBytes) {
          throw refused(
            path,
            `makes the archive larger than ${formatBytes(limits.archiveBytes)} unpacked, which is the most: leave out what is large, and fetch it in a task`,
          );
        }
        return { kind: "file", digest: await storeFile(entry, size), executable: (mode & 0o100) !== 0 };
      case "symlink": {
        const target = linkname ?? "";
        const problem = symlinkProblem(path, target);
        if (problem !== undefined) throw refused(path, `is a symlink whose target ${quoted(target)} ${problem}`);
        return { kind: "symlink", target };
      }
      case "link": {
        const linked = nodes.get(plainPath(linkname ?? ""));
        if (linked === undefined)
          throw refused(path, `is a hard link to ${quoted(linkname ?? "")}, which is not before it`);
        return linked;
      }
      default:
        throw refused(path, `is of a type (${type ?? "unknown"}) that cannot be in a tree`);
    }
  }

  return {
    async add(entry: Entry): Promise<void> {
      signal?.throwIfAborted();
      const path = plainPath(entry.header.name);
      if (path !== "") splitPath(path);
      if (nodes.size + directories.size >= limits.treeEntries) {
        throw refused(path, `is one more than the ${limits.treeEntries} entries that a tree may have`);
      }
      if (entry.header.type === "directory") {
        if (path !== "") directories.add(path);
      } else {
        if (nodes.has(path)) throw refused(path, "occurs twice");
        nodes.set(path, await nodeOf(entry, path));
      }
      entry.resume();
    },
    async finish(): Promise<Digest> {
      const entries: TreeEntry[] = [...nodes].map(([path, node]) => ({ path, node }));
      for (const path of childless(directories, nodes.keys())) {
        entries.push({ path, node: { kind: "directory", digest: emptyDigest } });
      }
      const tree = buildTree(entries);
      await flush();
      for (const blobs of batches(tree.directories.values(), (blob) => blob.digest, limits.batchAdvertisedBytes)) {
        await cas.writeMany(blobs, signal);
      }
      return tree.root;
    },
    async discard(): Promise<void> {
      if (spool !== undefined) await rm(spool, { recursive: true, force: true });
    },
  };
}

/** Directories that nothing lies in. */
function* childless(directories: ReadonlySet<string>, files: Iterable<string>): Generator<string> {
  const parents = new Set<string>();
  for (const path of [...files, ...directories]) parents.add(path.slice(0, Math.max(0, path.lastIndexOf("/"))));
  for (const path of directories) if (!parents.has(path)) yield path;
}

/** `./a/` and `a` are the same entry; `.` is the root. */
function plainPath(name: string): string {
  const path = name.replace(/^(\.\/+)+/, "").replace(/\/+$/, name === "/" ? "/" : "");
  return path === "." ? "" : path;
}

function incomplete(problem: string, cause?: Error): MillraceError {
  return new MillraceError("invalid_argument", `this is not a complete, uncompressed tar: ${problem}`, { cause });
}

function refused(path: string, why: string): MillraceError {
  return new MillraceError("invalid_argument", `entry ${quoted(path)} of the archive ${why}`);
}

/** The types of tar-stream do not say that its streams can be iterated. */
function bytesOf(stream: Entry | Pack): AsyncIterable<Uint8Array> {
  return stream as unknown as AsyncIterable<Uint8Array>;
}

async function* passing(
  source: AsyncIterable<Uint8Array>,
  look: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of source) {
    look(chunk);
    yield chunk;
  }
}

/** Small pieces of a tar (headers, padding) travel together up to this size. */
const pieceBytes = 64 * 1024;

/**
 * A tree as a tar that is the same byte for byte each time: sorted, times and owners zero. Every directory has an entry.
 * @throws MillraceError failed_precondition naming all missing blobs, before the first byte.
 */
export async function* exportTar(
  cas: Pick<Cas, "findMissing" | "read" | "readMany">,
  root: Digest,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const entries = await loadTree(cas, root, signal);
  const files = entries.flatMap(({ node }) => (node.kind === "file" ? [node.digest] : []));
  const missing = await cas.findMissing(files, signal);
  if (missing.length > 0) throw missingBlobs(missing, `packing ${digestKey(root)} as a tar`);

  const archive = packTar();
  const packed = packEntries(archive, cas, entries, signal).then(
    () => archive.finalize(),
    (error: unknown) => {
      archive.destroy(from(error));
    },
  );
  try {
    yield* gather(bytesOf(archive), pieceBytes);
  } finally {
    archive.destroy();
    await packed;
  }
}

async function packEntries(
  archive: Pack,
  cas: Pick<Cas, "read" | "readMany">,
  entries: readonly TreeEntry[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const made = new Set<string>([""]);
  for (const batch of batches(entries, smallDigest, limits.batchAdvertisedBytes)) {
    const small = await cas.readMany(batch.map(smallDigest), signal);
    for (const entry of batch) {
      signal?.throwIfAborted();
      const { path, node } = entry;
      for (const parent of parentsOf(path)) {
        if (made.has(parent)) continue;
        made.add(parent);
        await packOne(archive, { name: `${parent}/`, type: "directory", mode: 0o755 });
      }
      if (node.kind === "directory") await packOne(archive, { name: `${path}/`, type: "directory", mode: 0o755 });
      else if (node.kind === "symlink") {
        await packOne(archive, { name: path, type: "symlink", mode: 0o777, linkname: node.target });
      } else {
        const header: EntryHeader = {
          name: path,
          type: "file",
          mode: node.executable ? 0o755 : 0o644,
          size: node.digest.sizeBytes,
        };
        const data = small.get(digestKey(node.digest));
        await packOne(archive, header, data === undefined ? cas.read(node.digest, {}, signal) : [data]);
      }
    }
  }
}

/** What `readMany` should fetch for this entry; large files are streamed. */
function smallDigest({ node }: TreeEntry): Digest {
  return node.kind === "file" && node.digest.sizeBytes <= limits.smallBlobBytes ? node.digest : emptyDigest;
}

function* parentsOf(path: string): Generator<string> {
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) yield path.slice(0, at);
}

type EntryHeader = Pick<Header, "name" | "type" | "mode"> & Partial<Header>;

async function packOne(
  archive: Pack,
  header: EntryHeader,
  data: AsyncIterable<Uint8Array> | Iterable<Uint8Array> = [],
): Promise<void> {
  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {}); // it is awaited below; a failure may come while `data` is being read
  const sink = archive.entry({ ...header, mtime: new Date(0), uid: 0, gid: 0 }, (error) => {
    if (error) done.reject(error);
    else done.resolve();
  });
  if (header.type === "file") {
    for await (const chunk of data) {
      if (!sink.write(chunk)) await Promise.race([once(sink, "drain"), done.promise]);
    }
    sink.end(null);
  }
  await done.promise;
}

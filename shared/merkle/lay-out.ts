import { createReadStream } from "node:fs";
import { mkdir, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { batches } from "../cas/batches.ts";
import type { Cas } from "../cas/cas.ts";
import { writeNewFile } from "../cas/files.ts";
import { inParallel } from "../cas/in-parallel.ts";
import { missingBlobs } from "../cas/missing-blobs.ts";
import { type Digest, type DigestKey, digestKey } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { loadTree } from "./load-tree.ts";
import type { TreeEntry } from "./tree-entry.ts";
import { quoted, symlinkProblem } from "./tree-path.ts";

/** All paths with the same bytes: fetched once, written to each. */
interface FileGroup {
  readonly digest: Digest;
  readonly targets: { readonly path: string; readonly mode: number }[];
}

/**
 * Writes a tree to disk as fresh copies, for people; `dir` must be absent or empty, so that nothing there can redirect a
 * write. Files get 0666 or 0777 less the umask. After an error `dir` is gone.
 * @throws MillraceError failed_precondition when `dir` has entries or blobs are missing (all are named, before anything is
 * written); invalid_argument when a symlink leads out of the tree.
 */
export async function layOutTree(
  cas: Pick<Cas, "findMissing" | "read" | "readMany">,
  root: Digest,
  dir: string,
  signal?: AbortSignal,
): Promise<void> {
  const target = resolve(dir);
  const entries = await loadTree(cas, root, signal);
  const groups = groupFiles(entries, target);
  for (const { path, node } of entries) {
    const problem = node.kind === "symlink" ? symlinkProblem(path, node.target) : undefined;
    if (problem !== undefined)
      throw new MillraceError("invalid_argument", `the target of the symlink ${quoted(path)} ${problem}`);
  }
  const digests = groups.map((group) => group.digest);
  const missing = await cas.findMissing(digests, signal);
  if (missing.length > 0) throw missingBlobs(missing, `writing ${digestKey(root)} to ${target}`);

  await mkdir(target, { recursive: true });
  if ((await readdir(target)).length > 0) {
    throw new MillraceError(
      "failed_precondition",
      `${target} is not empty; name a directory that is, or is not there yet`,
    );
  }
  try {
    await makeDirectories(entries, target);
    await writeFiles(cas, groups, signal);
    // Last, so that no file is ever written while a symlink exists.
    for (const { path, node } of entries) if (node.kind === "symlink") await symlink(node.target, join(target, path));
  } catch (error) {
    await rm(target, { recursive: true, force: true });
    throw from(error, `writing ${digestKey(root)} to ${target}`);
  }
}

function groupFiles(entries: readonly TreeEntry[], target: string): FileGroup[] {
  const groups = new Map<DigestKey, FileGroup>();
  for (const { path, node } of entries) {
    if (node.kind !== "file") continue;
    const key = digestKey(node.digest);
    const group = groups.get(key) ?? { digest: node.digest, targets: [] };
    groups.set(key, group);
    group.targets.push({ path: join(target, path), mode: node.executable ? 0o777 : 0o666 });
  }
  return [...groups.values()];
}

async function makeDirectories(entries: readonly TreeEntry[], target: string): Promise<void> {
  const made = new Set<string>();
  for (const { path, node } of entries) {
    const directory = node.kind === "directory" ? path : dirname(path);
    if (made.has(directory)) continue;
    made.add(directory);
    await mkdir(join(target, directory), { recursive: true });
  }
}

async function writeFiles(cas: Pick<Cas, "read" | "readMany">, groups: readonly FileGroup[], signal?: AbortSignal) {
  const isSmall = ({ digest }: FileGroup) => digest.sizeBytes <= limits.smallBlobBytes;
  const small = batches(groups.filter(isSmall), (group) => group.digest, limits.batchAdvertisedBytes);
  await inParallel(
    small,
    async (batch, inner) => {
      const found = await cas.readMany(
        batch.map((group) => group.digest),
        inner,
      );
      for (const { digest, targets } of batch) {
        const data = found.get(digestKey(digest));
        if (data === undefined) throw missingBlobs([digest], "fetching files");
        for (const { path, mode } of targets) await writeFile(path, data, { mode, flag: "wx", signal: inner });
      }
    },
    signal,
  );
  await inParallel(
    groups.filter((group) => !isSmall(group)),
    async ({ digest, targets: [first, ...others] }, inner) => {
      if (first === undefined) return;
      await writeNewFile(first.path, cas.read(digest, {}, inner), { mode: first.mode, durable: false });
      for (const { path, mode } of others)
        await writeNewFile(path, createReadStream(first.path), { mode, durable: false });
    },
    signal,
  );
}

import { constants, lstatSync, readlinkSync, type Stats, statSync } from "node:fs";
import { open } from "node:fs/promises";
import { posix } from "node:path";
import { create } from "@bufbuild/protobuf";
import {
  type OutputDirectory,
  OutputDirectorySchema,
  type OutputFile,
  OutputFileSchema,
  type OutputSymlink,
  OutputSymlinkSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Blob } from "../../shared/cas/cas.ts";
import {
  type Digest,
  type DigestKey,
  digestKey,
  digestOf,
  digestToMessage,
  emptyDigest,
  hasher,
} from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type Snapshot, scanTree } from "../../shared/merkle/scan.ts";
import { encodeTree } from "../../shared/merkle/tree-message.ts";
import type { PromisedOutput } from "./output-paths.ts";

/** What a process left of what it had promised. */
export interface CollectedOutputs {
  readonly files: readonly OutputFile[];
  readonly directories: readonly OutputDirectory[];
  readonly symlinks: readonly OutputSymlink[];
  /** All blobs of the above, to be uploaded in one go. */
  readonly snapshot: Snapshot;
  /** Why some are not among them, for a person, one text each. */
  readonly problems: readonly string[];
}

/**
 * Hashes the outputs below `root`. No symlink is followed on the way to one: it could lead anywhere on the machine.
 * @throws MillraceError when the disk fails or the signal aborts
 */
export async function collectOutputs(
  root: string,
  promised: readonly PromisedOutput[],
  signal: AbortSignal,
): Promise<CollectedOutputs> {
  const outputFiles: OutputFile[] = [];
  const outputDirectories: OutputDirectory[] = [];
  const symlinks: OutputSymlink[] = [];
  const blobs = new Map<DigestKey, Blob>();
  const files = new Map<DigestKey, string>();
  const problems: string[] = [];

  async function collect({ path, fromRoot, holdsTasks }: PromisedOutput): Promise<void> {
    const absolute = posix.join(root, fromRoot);
    const stats = statBelow(root, fromRoot);
    if (stats === missing && holdsTasks === true) return;
    if (typeof stats === "string") problems.push(`output "${path}" ${stats}`);
    else if (stats.isSymbolicLink()) {
      symlinks.push(create(OutputSymlinkSchema, { path, target: readlinkSync(absolute) }));
    } else if (stats.isDirectory()) outputDirectories.push(await collectDirectory(path, absolute));
    else if (stats.isFile()) {
      const digest = await hashFile(absolute, signal);
      const isExecutable = (stats.mode & constants.S_IXUSR) !== 0;
      files.set(digestKey(digest), absolute);
      outputFiles.push(create(OutputFileSchema, { path, digest: digestToMessage(digest), isExecutable }));
    } else problems.push(`output "${path}" is neither a file nor a directory nor a symlink`);
  }

  async function collectDirectory(path: string, absolute: string): Promise<OutputDirectory> {
    const { tree, files: found } = await scanTree(absolute, { signal });
    for (const [key, file] of found) files.set(key, file);
    for (const [key, directory] of tree.directories) blobs.set(key, directory);
    const data = encodeTree(tree);
    const digest = digestOf(data);
    blobs.set(digestKey(digest), { digest, data });
    return create(OutputDirectorySchema, {
      path,
      treeDigest: digestToMessage(digest),
      isTopologicallySorted: true,
      rootDirectoryDigest: digestToMessage(tree.root),
    });
  }

  for (const output of promised) {
    try {
      await collect(output);
    } catch (error) {
      // Something in it that no store can hold, such as a socket: said, not retried.
      const cause = from(error);
      if (cause.code !== "invalid_argument") throw from(error, `collecting output "${output.path}"`);
      problems.push(`output "${output.path}" cannot be kept: ${cause.message}`);
    }
  }
  return {
    files: outputFiles,
    directories: outputDirectories,
    symlinks,
    snapshot: { entries: [], tree: { root: emptyDigest, directories: blobs }, files },
    problems,
  };
}

const missing = "is missing";

/** What is at the path, or why there is nothing. */
function statBelow(root: string, fromRoot: string): Stats | string {
  if (fromRoot === "") return statSync(root); // the root may be named by a link to an open folder
  const names = fromRoot.split("/");
  let path = root;
  for (const [index, name] of names.entries()) {
    path = posix.join(path, name);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return missing;
    if (index === names.length - 1) return stats;
    if (stats.isSymbolicLink())
      return `lies behind the symlink "${names.slice(0, index + 1).join("/")}", which is not followed`;
    if (!stats.isDirectory()) return missing;
  }
  return missing;
}

async function hashFile(path: string, signal: AbortSignal): Promise<Digest> {
  const hash = hasher();
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const buffer = Buffer.allocUnsafeSlow(limits.streamChunkBytes);
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, null);
    if (bytesRead === 0) return hash.digest();
    hash.update(buffer.subarray(0, bytesRead));
  }
}

import type { ActionResult } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Cas } from "../cas/cas.ts";
import { distinct } from "../cas/distinct.ts";
import { missingBlobs } from "../cas/missing-blobs.ts";
import { readBlob } from "../cas/read-blob.ts";
import { type Digest, digestFromMessage } from "../digest.ts";
import { from } from "../errors.ts";
import { decodeDirectory } from "./directory.ts";
import { walkDirectories } from "./load-tree.ts";
import { decodeTree } from "./tree-message.ts";

/**
 * Every blob that a result needs: its files and streams, its Trees and the files in them, and the Directories where a
 * result names those. Each once. Computed when the result is written, so that a hit is checked without reading a Tree.
 * @throws MillraceError failed_precondition naming the Trees and Directories that are missing; invalid_argument when one
 * of them is malformed.
 */
export async function closureOf(
  cas: Pick<Cas, "read" | "readMany">,
  result: ActionResult,
  signal?: AbortSignal,
): Promise<Digest[]> {
  const closure: Digest[] = [];
  const missing: Digest[] = [];
  for (const file of result.outputFiles) closure.push(digestFromMessage(file.digest, `digest of output ${file.path}`));
  if (result.stdoutDigest !== undefined) closure.push(digestFromMessage(result.stdoutDigest, "stdout_digest"));
  if (result.stderrDigest !== undefined) closure.push(digestFromMessage(result.stderrDigest, "stderr_digest"));
  for (const { path, treeDigest, rootDirectoryDigest } of result.outputDirectories) {
    if (treeDigest !== undefined) {
      const tree = digestFromMessage(treeDigest, `tree_digest of output ${path}`);
      closure.push(tree, ...(await filesOfTree(cas, tree, missing, signal)));
    }
    if (rootDirectoryDigest !== undefined) {
      const root = digestFromMessage(rootDirectoryDigest, `root_directory_digest of output ${path}`);
      const walk = walkDirectories(cas, root, { onMissing: (digest) => missing.push(digest), signal });
      for await (const { blob, nodes } of walk) {
        closure.push(blob.digest);
        for (const node of nodes.values()) if (node.kind === "file") closure.push(node.digest);
      }
    }
  }
  if (missing.length > 0) throw missingBlobs(distinct(missing), "reading the output directories of a result");
  return distinct(closure);
}

async function filesOfTree(
  cas: Pick<Cas, "read">,
  digest: Digest,
  missing: Digest[],
  signal: AbortSignal | undefined,
): Promise<Digest[]> {
  const files: Digest[] = [];
  try {
    for (const blob of decodeTree(await readBlob(cas, digest, signal)).directories.values()) {
      for (const node of decodeDirectory(blob.digest, blob.data).nodes.values()) {
        if (node.kind === "file") files.push(node.digest);
      }
    }
  } catch (error) {
    if (from(error).code !== "not_found") throw error;
    missing.push(digest);
  }
  return files;
}

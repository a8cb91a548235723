import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "../digest.ts";
import { from } from "../errors.ts";
import type { ChangingFiles } from "./changing-files.ts";
import { blobFile, blobFolder } from "./disk-layout.ts";

export interface OrphanDeps {
  /** Of the store. */
  readonly dir: string;
  readonly has: (digest: Digest) => boolean;
  readonly changing: Pick<ChangingFiles, "isStored" | "remove">;
}

/**
 * Removes files of blobs that the index does not name: a process died between the row and the file, or the file and the
 * row. In a store that works on: a file that is just being stored is none of them.
 * @returns how many there were
 */
export async function removeOrphans({ dir, has, changing }: OrphanDeps, signal: AbortSignal): Promise<number> {
  let removed = 0;
  for (const folder of await namesIn(join(dir, blobFolder))) {
    signal.throwIfAborted();
    for (const name of await namesIn(join(dir, blobFolder, folder))) {
      const [, hash = "", size = ""] = /^([0-9a-f]{64})-(\d{1,16})$/.exec(name) ?? [];
      const digest = { hash, sizeBytes: Number(size) };
      if (hash === "" || has(digest) || changing.isStored(digest)) continue;
      await changing.remove(digest, () => rm(join(dir, blobFile(digest)), { force: true }));
      removed += 1;
    }
  }
  return removed;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (from(error).code === "not_found") return []; // no blob of its own yet
    throw error;
  }
}

import { existsSync } from "node:fs";
import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory } from "../../../shared/cas/files.ts";
import { MillraceError } from "../../../shared/errors.ts";

/** In a coordinator's folder that a restore has begun and not finished. */
export const unfinishedRestore = "unfinished-restore";

/** Before anything is put into a folder: whoever finds the mark knows that what is there may be thrown away. */
export async function markUnfinished(folder: string, name: string): Promise<void> {
  const marker = await open(join(folder, name), "a", 0o600);
  await marker.close();
  await syncDirectory(folder);
}

/** Empties a folder; the mark goes last. The folder stays. */
export async function clearFolder(folder: string, mark: string): Promise<void> {
  for (const name of await readdir(folder)) if (name !== mark) await rm(join(folder, name), { recursive: true });
  await rm(join(folder, mark), { force: true });
}

/** @throws MillraceError failed_precondition for a folder in which a restore has ended half-way */
export function requireNoUnfinishedRestore(data: string): void {
  if (!existsSync(join(data, unfinishedRestore))) return;
  const message = `${data} holds a restore that has not finished: run \`millrace admin restore\` into it again, or empty it`;
  throw new MillraceError("failed_precondition", message);
}

import { accessSync, constants, statfsSync } from "node:fs";
import { chmod, mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** Of `statfs`, for a file system in memory. */
const tmpfsType = 0x0102_1994;
const sharedMemory = "/dev/shm";

/** Secrets that a process reads from files. */
export interface SecretFiles {
  /** One folder for one attempt, which only this user can enter. */
  place(attempt: string, files: ReadonlyMap<string, Uint8Array>): Promise<string>;
  remove(folder: string): Promise<void>;
  /** Takes all of them away. */
  close(): Promise<void>;
}

/**
 * Keeps them in memory where the machine has a file system for that, else in `otherwise`; what an earlier start of this
 * agent left goes.
 * @param name of this agent's folder there: of no other agent on the machine
 */
export async function openSecretFiles(name: string, otherwise: string): Promise<SecretFiles> {
  const root = isInMemory(sharedMemory) ? join(sharedMemory, `${name}-secrets`) : otherwise;
  await rm(root, { recursive: true, force: true });
  return {
    async place(attempt, files) {
      const folder = join(root, attempt);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      await chmod(root, 0o700);
      for (const [file, value] of files) await writeFile(join(folder, file), value, { mode: 0o400, flag: "wx" });
      return folder;
    },
    remove: (folder) => rm(folder, { recursive: true, force: true }),
    close: () => rm(root, { recursive: true, force: true }),
  };
}

function isInMemory(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return statfsSync(folder).type === tmpfsType;
  } catch {
    return false; // not there, or not ours to write to
  }
}

import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../errors.ts";
import { makeFolder } from "../make-folder.ts";
import { nativeBinding } from "./native-binding.ts";

/** A folder that belongs to this process until it is released or the process is gone. */
export interface FolderLock {
  release(): void;
}

/** Another process has the folder: whoever can do with another one takes that. */
export class FolderInUse extends MillraceError {
  constructor(message: string) {
    super("failed_precondition", message);
  }
}

/**
 * Takes a folder, and makes it when it is not there. The kernel keeps the lock (that of an exclusive SQLite transaction,
 * thus of an open file), so a kill -9 leaves nothing behind that could be mistaken for a holder, and no process id is
 * ever trusted.
 * @param holder who takes it, for the message to the next one, such as `agent`
 * @throws MillraceError invalid_argument when it cannot be made; FolderInUse, with the holder's process id, when another process has it
 */
export function lockFolder(folder: string, holder: string): FolderLock {
  makeFolder(folder);
  const holderFile = join(folder, "lock.pid");
  const database = new Database(join(folder, "lock"), { timeout: 0, ...nativeBinding(folder) });
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!(error instanceof Database.SqliteError) || error.code !== "SQLITE_BUSY") throw error;
    throw new FolderInUse(
      `${folder} is in use by another ${holder}${processIn(holderFile)}. Stop that one, or name another folder with --data.`,
    );
  }
  writeFileSync(holderFile, `${process.pid}\n`, { mode: 0o600 });
  return {
    release() {
      rmSync(holderFile, { force: true });
      database.close();
    },
  };
}

/** For the message only; the file may be a moment behind the lock. */
function processIn(file: string): string {
  try {
    return ` (process ${readFileSync(file, "utf8").trim()})`;
  } catch {
    return ""; // it is written just after the lock is taken
  }
}

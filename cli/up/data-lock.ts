import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../../shared/errors.ts";
import { writePrivateFile } from "./private-file.ts";

/** A data folder that belongs to this process until it is released or the process is gone. */
export interface DataLock {
  release(): void;
}

/**
 * Takes the data folder. The kernel keeps the lock (an exclusive SQLite transaction, thus a lock on an open file), so a
 * kill -9 leaves nothing behind that could be mistaken for a holder, and no process id is ever trusted.
 * @throws MillraceError failed_precondition, with the holder's process id, when another process has it.
 */
export function lockData(dir: string): DataLock {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const holderFile = join(dir, "up.pid");
  const database = new Database(join(dir, "up.lock"), { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!(error instanceof Database.SqliteError) || error.code !== "SQLITE_BUSY") throw error;
    throw new MillraceError(
      "failed_precondition",
      `${dir} is in use by another \`millrace up\`${holderOf(holderFile)}. Stop that one, or name another folder with --data.`,
    );
  }
  writePrivateFile(holderFile, `${process.pid}\n`);
  return {
    release() {
      rmSync(holderFile, { force: true });
      database.close();
    },
  };
}

/** For the message only; the file may be a moment behind the lock. */
function holderOf(file: string): string {
  try {
    return ` (process ${readFileSync(file, "utf8").trim()})`;
  } catch {
    return "";
  }
}

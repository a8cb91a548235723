import { mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { MillraceError } from "../shared/errors.ts";

/** A data folder that belongs to this process until it is released or the process is gone. */
export interface DataLock {
  release(): void;
}

/**
 * Takes the data folder, and makes it when it is not there. The kernel keeps the lock (of an exclusive SQLite
 * transaction), so a kill -9 leaves nothing behind that could be mistaken for a holder.
 * @throws MillraceError failed_precondition when another agent has it
 */
export function lockData(folder: string): DataLock {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const database = new Database(join(folder, "lock"), { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
  } catch (error) {
    database.close();
    if (!(error instanceof Database.SqliteError) || error.code !== "SQLITE_BUSY") throw error;
    throw new MillraceError(
      "failed_precondition",
      `${folder} is in use by another agent: stop that one, or name another folder with --data`,
    );
  }
  return { release: () => database.close() };
}

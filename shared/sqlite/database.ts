import { existsSync } from "node:fs";
import { dirname } from "node:path";
import Database from "better-sqlite3";
import { limits } from "../limits.ts";
import { SqlError } from "./failure.ts";
import type { WorkerOptions } from "./messages.ts";
import { migrate } from "./migrate.ts";
import { nativeBinding } from "./native-binding.ts";

/**
 * Opens the file, creating it when it is not there (its folder must be), and applies the migrations. Read-only, it must
 * be there and stays as it is. Synchronous.
 */
export function openDatabase({ path, schema, readOnly, addonDir }: WorkerOptions): Database.Database {
  const folder = dirname(path);
  if (!existsSync(folder)) throw new SqlError("not_found", "its folder does not exist");
  const options = { timeout: limits.sqliteBusyMs, ...nativeBinding(addonDir ?? folder) };
  if (readOnly) return new Database(path, { ...options, readonly: true, fileMustExist: true });
  const db = new Database(path, options);
  try {
    db.pragma("journal_mode = WAL");
    // In WAL mode the default (NORMAL) may lose the last commits when the power fails; what is acknowledged must stay.
    db.pragma("synchronous = FULL");
    db.pragma("foreign_keys = ON");
    migrate(db, schema);
  } catch (error) {
    db.close();
    throw error;
  }
  return db;
}

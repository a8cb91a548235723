import Database from "better-sqlite3";
import type { ErrorCode } from "../errors.ts";
import type { SqlFailure } from "./messages.ts";

/** What callers can act on, by SQLite's extended result codes (https://sqlite.org/rescode.html), most special first. */
const codes: readonly (readonly [prefix: string, code: ErrorCode])[] = [
  ["SQLITE_CONSTRAINT_UNIQUE", "already_exists"],
  ["SQLITE_CONSTRAINT_PRIMARYKEY", "already_exists"],
  ["SQLITE_CONSTRAINT_ROWID", "already_exists"],
  ["SQLITE_CONSTRAINT", "failed_precondition"],
  ["SQLITE_MISMATCH", "invalid_argument"],
  ["SQLITE_RANGE", "invalid_argument"],
  ["SQLITE_TOOBIG", "invalid_argument"],
  ["SQLITE_FULL", "resource_exhausted"],
  ["SQLITE_NOMEM", "resource_exhausted"],
  ["SQLITE_CORRUPT", "data_loss"],
  ["SQLITE_NOTADB", "data_loss"],
  ["SQLITE_BUSY", "unavailable"],
  ["SQLITE_LOCKED", "unavailable"],
  ["SQLITE_READONLY", "permission_denied"],
  ["SQLITE_PERM", "permission_denied"],
  ["SQLITE_AUTH", "permission_denied"],
  ["SQLITE_CANTOPEN", "not_found"],
];

/** The advice that goes with a code, for the person who reads the log. */
const advice: Partial<Record<ErrorCode, string>> = {
  data_loss: "the file is damaged or no SQLite database; restore it from a backup, or move it away to start empty",
  resource_exhausted: "free some disk space",
  unavailable: "another process holds the database; stop it",
};

/** A failure carried by an exception, for checks of our own. */
export class SqlError extends Error {
  override readonly name = "SqlError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** Says what failed, in which file and statement. Anything that no caller can act on is `internal`: a defect. */
export function failureOf(error: unknown, path: string, sql?: string): SqlFailure {
  const message = error instanceof Error ? error.message : String(error);
  const code = codeOf(error);
  const statement = sql === undefined ? "" : ` in "${sql.length > 200 ? `${sql.slice(0, 200)}…` : sql}"`;
  const hint = error instanceof SqlError ? undefined : advice[code];
  return { code, message: `database ${path}: ${message}${statement}${hint === undefined ? "" : `: ${hint}`}` };
}

function codeOf(error: unknown): ErrorCode {
  if (error instanceof SqlError) return error.code;
  if (error instanceof Database.SqliteError) {
    return codes.find(([prefix]) => error.code.startsWith(prefix))?.[1] ?? "internal";
  }
  // better-sqlite3 checks the number and types of parameters itself.
  return error instanceof RangeError || error instanceof TypeError ? "invalid_argument" : "internal";
}

import { renameSync, rmSync } from "node:fs";
import { from, MillraceError } from "../shared/errors.ts";
import { type OpenSqliteOptions, openSqlite } from "../shared/sqlite/open.ts";
import type { SchemaPart, Sqlite } from "../shared/sqlite/sqlite.ts";
import { namedCacheSchema } from "./caches/cache-shelf.ts";
import { hostOperationSchema } from "./operations/journal.ts";
import { sourceSchema } from "./source/object-map.ts";
import { unitSchema } from "./units/units.ts";

/** Tables that are the agent's as a whole; those of its parts are theirs. */
export const agentDatabaseSchema: SchemaPart = {
  name: "agent",
  migrations: [
    `-- Files of the local store: what eviction needs to know. What is there is decided by the files, not by this table.
   CREATE TABLE blobs (
     hash TEXT PRIMARY KEY,
     size_bytes INTEGER NOT NULL,
     last_use_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;
   CREATE INDEX blobs_by_last_use ON blobs (last_use_ms);

   -- Reports that the coordinator has not answered yet, as millrace.v1.Report.
   CREATE TABLE outbox (
     execution_id TEXT NOT NULL,
     attempt INTEGER NOT NULL,
     report BLOB NOT NULL,
     PRIMARY KEY (execution_id, attempt)
   ) STRICT;`,
  ],
};

export interface AgentDatabaseOptions {
  readonly path: string;
  /** Told when the database was damaged and begun anew, and when its thread dies. */
  readonly onError: (error: MillraceError) => void;
}

/**
 * The agent's own database: its outbox and the index of its store. A damaged one is set aside and begun anew, for an
 * agent that does not start helps nobody: reports in it are lost, so the farm places those executions again.
 */
export async function openAgentDatabase({ path, onError }: AgentDatabaseOptions): Promise<Sqlite> {
  const open = () =>
    openSound({
      path,
      schema: [agentDatabaseSchema, hostOperationSchema, unitSchema, namedCacheSchema, sourceSchema],
      onError,
    });
  return open().catch((error: unknown) => {
    const failure = from(error);
    if (failure.code !== "data_loss") throw failure;
    const aside = `${path}.damaged`;
    onError(from(failure, `the agent's database is begun anew; the damaged one is ${aside}`));
    for (const suffix of ["-wal", "-shm"]) rmSync(path + suffix, { force: true });
    renameSync(path, aside);
    return open();
  });
}

/** @throws MillraceError data_loss when SQLite finds anything wrong with any page */
async function openSound(options: OpenSqliteOptions): Promise<Sqlite> {
  const sqlite = await openSqlite(options);
  try {
    const found = await sqlite.query<{ quick_check: string }>("PRAGMA quick_check(1)");
    const problem = found[0]?.quick_check;
    if (problem === "ok") return sqlite;
    throw new MillraceError("data_loss", `database ${options.path}: ${problem ?? "it cannot be checked"}`);
  } catch (error) {
    await sqlite.close();
    throw error;
  }
}

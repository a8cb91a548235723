import { type OpenSqliteOptions, openSqlite } from "../shared/sqlite/open.ts";
import type { SchemaPart, Sqlite } from "../shared/sqlite/sqlite.ts";

const schema: SchemaPart = {
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

/** The agent's own database: its outbox and the index of its store. */
export function openAgentDatabase(options: Omit<OpenSqliteOptions, "schema">): Promise<Sqlite> {
  return openSqlite({ ...options, schema: [schema] });
}

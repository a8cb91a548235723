import type { Digest } from "../../shared/digest.ts";
import { limits } from "../../shared/limits.ts";
import type { SchemaPart, Sqlite } from "../../shared/sqlite/sqlite.ts";

/** What an object of git is in the CAS. */
export interface StoredObject {
  /** Of git. One that was read as a file is no folder, whatever a tree says later: nobody has looked at what is in it. */
  readonly type: "blob" | "tree";
  /** Of the file, or of the Directory. */
  readonly digest: Digest;
  /** Of a tree: how many levels above it its symlinks climb; 0 when all stay inside. */
  readonly climb: number;
}

/**
 * Which object of a mirror is which blob, so that a commit costs only what is new in it. An entry is made when the CAS has
 * the blob, and for a tree all that is below it; it says nothing of how long.
 */
export interface ObjectMap {
  /** Those that are known to be of that type, by object id. */
  find(type: StoredObject["type"], oids: readonly string[]): Promise<Map<string, StoredObject>>;
  add(objects: ReadonlyMap<string, StoredObject>): Promise<void>;
}

export const sourceSchema: SchemaPart = {
  name: "sources",
  migrations: [
    `-- Mirrors of repositories, each a folder named after its id.
   CREATE TABLE git_mirror (
     id INTEGER PRIMARY KEY AUTOINCREMENT,
     url TEXT NOT NULL UNIQUE,
     fetches INTEGER NOT NULL DEFAULT 0,
     size_bytes INTEGER NOT NULL DEFAULT 0,
     last_use_ms INTEGER NOT NULL
   ) STRICT;

   -- Of each mirror apart: what one repository says must not become the content of another.
   CREATE TABLE git_object (
     mirror INTEGER NOT NULL,
     oid TEXT NOT NULL,
     hash TEXT NOT NULL,
     size_bytes INTEGER NOT NULL,
     climb INTEGER NOT NULL,
     PRIMARY KEY (mirror, oid)
   ) STRICT, WITHOUT ROWID;`,
    `-- With the type; of those that are known it cannot be told any more, and each is read once again.
   DROP TABLE git_object;
   CREATE TABLE git_object (
     mirror INTEGER NOT NULL,
     oid TEXT NOT NULL,
     type TEXT NOT NULL,
     hash TEXT NOT NULL,
     size_bytes INTEGER NOT NULL,
     climb INTEGER NOT NULL,
     PRIMARY KEY (mirror, oid)
   ) STRICT, WITHOUT ROWID;`,
  ],
};

interface Row {
  readonly oid: string;
  readonly hash: string;
  readonly size_bytes: number;
  readonly climb: number;
}

export function sqliteObjectMap(database: Pick<Sqlite, "query" | "write">, mirror: number): ObjectMap {
  return {
    async find(type, oids) {
      const found = new Map<string, StoredObject>();
      for (let at = 0; at < oids.length; at += limits.gitObjectsSlice) {
        const sql = `SELECT oid, hash, size_bytes, climb FROM git_object
          WHERE mirror = ? AND type = ? AND oid IN (SELECT value FROM json_each(?))`;
        const slice = JSON.stringify(oids.slice(at, at + limits.gitObjectsSlice));
        for (const { oid, hash, size_bytes: sizeBytes, climb } of await database.query<Row>(sql, [
          mirror,
          type,
          slice,
        ])) {
          found.set(oid, { type, digest: { hash, sizeBytes }, climb });
        }
      }
      return found;
    },
    async add(objects) {
      const rows = [...objects].map(([oid, { type, digest, climb }]) => [
        oid,
        type,
        digest.hash,
        digest.sizeBytes,
        climb,
      ]);
      for (let at = 0; at < rows.length; at += limits.gitObjectsSlice) {
        const sql = `INSERT OR REPLACE INTO git_object (mirror, oid, type, hash, size_bytes, climb)
          SELECT ?, value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)`;
        await database.write([{ sql, params: [mirror, JSON.stringify(rows.slice(at, at + limits.gitObjectsSlice))] }]);
      }
    },
  };
}

import type { Digest } from "../digest.ts";
import { limits } from "../limits.ts";
import type { SchemaPart, Sqlite } from "../sqlite/sqlite.ts";
import type { BlobLocation, PlacedBlob } from "./blob-table.ts";

/** The tables of the disk store, in order. */
export const diskCasSchema: SchemaPart = {
  name: "cas",
  migrations: [
    `CREATE TABLE cas_blob (
     hash BLOB NOT NULL,            -- SHA-256, 32 bytes
     size INTEGER NOT NULL,
     segment INTEGER NOT NULL,      -- 0: a file of its own
     offset INTEGER NOT NULL,
     used_at INTEGER NOT NULL,      -- seconds since 1970
     PRIMARY KEY (hash, size)
   ) STRICT, WITHOUT ROWID`,
  ],
};

export interface IndexedBlob extends PlacedBlob {
  readonly usedAtSeconds: number;
}

export interface BlobMove {
  readonly from: PlacedBlob;
  readonly to: BlobLocation;
}

/** The durable half of the disk store's index. A row makes a blob exist. */
export interface DiskIndex {
  /** All rows, in pages. */
  load(): AsyncGenerator<IndexedBlob>;
  put(blobs: readonly PlacedBlob[], usedAtSeconds: number): Promise<void>;
  touch(digests: readonly Digest[], usedAtSeconds: number): Promise<void>;
  /** Those that are still where they were thought to be. */
  move(moves: readonly BlobMove[]): Promise<void>;
  remove(digests: readonly Digest[]): Promise<void>;
}

interface Row {
  readonly hash: string;
  readonly size: number;
  readonly segment: number;
  readonly offset: number;
  readonly used_at: number;
}

/** Many rows travel as one JSON parameter: a statement a batch, not a row. */
export function diskIndex(sqlite: Sqlite): DiskIndex {
  return {
    async *load() {
      let after = { hash: "", size: 0 };
      for (;;) {
        const rows = await sqlite.query<Row>(
          `SELECT lower(hex(hash)) AS hash, size, segment, offset, used_at FROM cas_blob
           WHERE (hash, size) > (unhex(?), ?) ORDER BY hash, size LIMIT ?`,
          [after.hash, after.size, limits.casIndexPage],
        );
        for (const { hash, size, segment, offset, used_at } of rows) {
          yield { digest: { hash, sizeBytes: size }, segment, offset, usedAtSeconds: used_at };
        }
        const last = rows.at(-1);
        if (last === undefined) return;
        after = last;
      }
    },
    async put(blobs, usedAtSeconds) {
      const rows = blobs.map(({ digest, segment, offset }) => [digest.hash, digest.sizeBytes, segment, offset]);
      await sqlite.write([
        {
          sql: `INSERT OR REPLACE INTO cas_blob (hash, size, segment, offset, used_at)
                SELECT unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, ? FROM json_each(?)`,
          params: [usedAtSeconds, JSON.stringify(rows)],
        },
      ]);
    },
    async touch(digests, usedAtSeconds) {
      const rows = digests.map((digest) => [digest.hash, digest.sizeBytes]);
      await sqlite.write([
        {
          sql: `UPDATE cas_blob SET used_at = ?
                FROM (SELECT unhex(value ->> 0) AS hash, value ->> 1 AS size FROM json_each(?)) AS used
                WHERE cas_blob.hash = used.hash AND cas_blob.size = used.size`,
          params: [usedAtSeconds, JSON.stringify(rows)],
        },
      ]);
    },
    async move(moves) {
      const rows = moves.map(({ from, to }) => [
        from.digest.hash,
        from.digest.sizeBytes,
        ...[from.segment, from.offset, to.segment, to.offset],
      ]);
      await sqlite.write([
        {
          sql: `UPDATE cas_blob SET segment = moved.to_segment, offset = moved.to_offset
                FROM (SELECT unhex(value ->> 0) AS hash, value ->> 1 AS size, value ->> 2 AS segment,
                        value ->> 3 AS offset, value ->> 4 AS to_segment, value ->> 5 AS to_offset
                      FROM json_each(?)) AS moved
                WHERE cas_blob.hash = moved.hash AND cas_blob.size = moved.size
                  AND cas_blob.segment = moved.segment AND cas_blob.offset = moved.offset`,
          params: [JSON.stringify(rows)],
        },
      ]);
    },
    async remove(digests) {
      const rows = digests.map((digest) => [digest.hash, digest.sizeBytes]);
      await sqlite.write([
        {
          sql: `DELETE FROM cas_blob WHERE (hash, size) IN
                (SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?))`,
          params: [JSON.stringify(rows)],
        },
      ]);
    },
  };
}

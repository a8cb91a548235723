import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ActionResultSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { type Digest, digestKey } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import type { ActionCache } from "./action-cache.ts";
import type { ActionCacheKeeping } from "./action-cache-keeping.ts";

/** The tables of the action cache, in order. */
export const actionCacheSchema: SchemaPart = {
  name: "action-cache",
  migrations: [
    `CREATE TABLE action_result (
     hash BLOB NOT NULL,            -- of the Action: SHA-256, 32 bytes
     size INTEGER NOT NULL,
     result BLOB NOT NULL,          -- ActionResult
     closure BLOB NOT NULL,         -- 40 bytes a digest: hash, size as 64 bits little-endian
     writer TEXT NOT NULL,
     written_at INTEGER NOT NULL,   -- milliseconds since 1970
     used_at INTEGER NOT NULL,      -- the same, to the precision of an hour
     PRIMARY KEY (hash, size)
   ) STRICT, WITHOUT ROWID`,
  ],
};

interface Row {
  readonly result: Uint8Array;
  readonly closure: Uint8Array;
  readonly writer: string;
  readonly used_at: number;
}

interface ClosureRow {
  readonly hash: string;
  readonly size: number;
  readonly closure: Uint8Array;
  readonly used_at: number;
}

const selectClosures = `SELECT lower(hex(hash)) AS hash, size, closure, used_at FROM action_result
  WHERE (hash, size) > (unhex(?), ?) ORDER BY hash, size LIMIT ?`;

const hashBytes = 32;
const recordBytes = hashBytes + 8;

/** The action cache in SQLite. The result is kept as its bytes, so that fields we do not know come back unchanged. */
export function sqliteActionCache({
  sqlite,
  clock,
}: {
  readonly sqlite: Sqlite;
  readonly clock: Clock;
}): ActionCache & ActionCacheKeeping {
  return {
    async get(action, signal) {
      signal?.throwIfAborted();
      const [row] = await sqlite.query<Row>(
        "SELECT result, closure, writer, used_at FROM action_result WHERE hash = unhex(?) AND size = ?",
        [action.hash, action.sizeBytes],
      );
      if (row === undefined) return undefined;
      const nowMs = clock.nowMs();
      if (row.used_at <= nowMs - limits.lastUsePrecisionMs) {
        await sqlite.write([
          {
            sql: "UPDATE action_result SET used_at = ? WHERE hash = unhex(?) AND size = ?",
            params: [nowMs, action.hash, action.sizeBytes],
          },
        ]);
      }
      return {
        result: fromBinary(ActionResultSchema, row.result),
        closure: unpackDigests(row.closure, action),
        writer: row.writer,
      };
    },
    async put(action, { result, closure, writer }, signal) {
      signal?.throwIfAborted();
      const nowMs = clock.nowMs();
      await sqlite.write([
        {
          sql: `INSERT OR REPLACE INTO action_result (hash, size, result, closure, writer, written_at, used_at)
                VALUES (unhex(?), ?, ?, ?, ?, ?, ?)`,
          params: [
            action.hash,
            action.sizeBytes,
            toBinary(ActionResultSchema, result),
            packDigests(closure),
            writer,
            nowMs,
            nowMs,
          ],
        },
      ]);
    },
    async *closures(signal) {
      let after = { hash: "", size: 0 };
      for (;;) {
        signal.throwIfAborted();
        const rows = await sqlite.query<ClosureRow>(selectClosures, [after.hash, after.size, limits.closurePage]);
        for (const { hash, size, closure, used_at: usedAtMs } of rows) {
          const action = { hash, sizeBytes: size };
          yield { action, usedAtMs, closure: unpackDigests(closure, action) };
        }
        const last = rows.at(-1);
        if (last === undefined) return;
        after = last;
      }
    },
    async removeUnused(beforeMs) {
      const sql = "DELETE FROM action_result WHERE used_at < ?";
      return (await sqlite.write([{ sql, params: [beforeMs] }]))[0] ?? 0;
    },
    async remove(actions, writtenUntilMs) {
      const rows = actions.map(({ hash, sizeBytes }) => [hash, sizeBytes]);
      const sql = `DELETE FROM action_result WHERE written_at <= ? AND (hash, size) IN
        (SELECT unhex(value ->> 0), value ->> 1 FROM json_each(?))`;
      return (await sqlite.write([{ sql, params: [writtenUntilMs, JSON.stringify(rows)] }]))[0] ?? 0;
    },
  };
}

function packDigests(digests: readonly Digest[]): Uint8Array {
  const packed = Buffer.alloc(digests.length * recordBytes);
  for (const [index, { hash, sizeBytes }] of digests.entries()) {
    packed.write(hash, index * recordBytes, "hex");
    packed.writeBigUInt64LE(BigInt(sizeBytes), index * recordBytes + hashBytes);
  }
  return packed;
}

function unpackDigests(bytes: Uint8Array, action: Digest): Digest[] {
  if (bytes.byteLength % recordBytes !== 0) {
    throw new MillraceError("data_loss", `the cached result of action ${digestKey(action)} has a damaged closure`);
  }
  const packed = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.byteLength / recordBytes }, (_, index) => ({
    hash: packed.toString("hex", index * recordBytes, index * recordBytes + hashBytes),
    sizeBytes: Number(packed.readBigUInt64LE(index * recordBytes + hashBytes)),
  }));
}

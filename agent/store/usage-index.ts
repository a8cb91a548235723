import type { Clock } from "../../shared/clock.ts";
import type { Digest } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import type { Sqlite } from "../../shared/sqlite/sqlite.ts";

/**
 * Remembers when blobs were last used, so that an eviction can take the oldest. Best effort: a use that is not recorded
 * only makes a blob look older.
 */
export function usageIndex(database: Pick<Sqlite, "write">, clock: Clock, onError: (error: MillraceError) => void) {
  return {
    record(digests: readonly Digest[]): void {
      if (digests.length === 0) return;
      const sql = `INSERT INTO blobs (hash, size_bytes, last_use_ms)
        SELECT value ->> 0, value ->> 1, ? FROM json_each(?) WHERE true
        ON CONFLICT (hash) DO UPDATE SET last_use_ms = excluded.last_use_ms`;
      const rows = JSON.stringify(digests.map(({ hash, sizeBytes }) => [hash, sizeBytes]));
      database
        .write([{ sql, params: [clock.nowMs(), rows] }])
        .catch((error: unknown) => onError(from(error, "recording the use of blobs")));
    },
  };
}

import type { Clock } from "../../shared/clock.ts";
import type { Digest } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import type { Sqlite, Statement } from "../../shared/sqlite/sqlite.ts";
import type { BlobFiles, StoredFile } from "./blob-files.ts";
import type { StoredBlob } from "./eviction.ts";

/** What the local store holds and when each blob was last used, so that an eviction can take the oldest. */
export interface UsageIndex {
  used(files: readonly StoredFile[]): void;
  removed(digests: readonly Digest[]): void;
  blobs(): Iterable<StoredBlob>;
  /** Of all blobs together. */
  bytes(): number;
}

export interface UsageIndexOptions {
  readonly database: Pick<Sqlite, "write" | "query">;
  readonly files: Pick<BlobFiles, "list">;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
}

interface Usage {
  readonly sizeBytes: number;
  hasExecutable: boolean;
  lastUseMs: number;
}

/**
 * The files decide what is there; the table only remembers times. So it may be lost or behind: a blob that it does not
 * know counts as used now, and a use that is not recorded only makes a blob look older.
 */
export async function openUsageIndex({ database, files, clock, onError }: UsageIndexOptions): Promise<UsageIndex> {
  const nowMs = clock.nowMs();
  const rows = await database.query<{ hash: string; last_use_ms: number }>("SELECT hash, last_use_ms FROM blobs");
  const times = new Map(rows.map((row) => [row.hash, row.last_use_ms]));
  /** By hash. Bounded by the store itself. */
  const usages = new Map<string, Usage>();
  let bytes = 0;

  function note({ digest: { hash, sizeBytes }, executable }: StoredFile, lastUseMs: number): void {
    const usage = usages.get(hash) ?? { sizeBytes, hasExecutable: false, lastUseMs };
    if (!usages.has(hash)) bytes += sizeBytes;
    if (executable && !usage.hasExecutable) bytes += sizeBytes;
    usage.hasExecutable ||= executable;
    usage.lastUseMs = lastUseMs;
    usages.set(hash, usage);
  }

  // A time from the future, of a clock that has been put right since, would keep a blob for ever.
  for (const file of files.list()) note(file, Math.min(times.get(file.digest.hash) ?? nowMs, nowMs));
  const gone = [...times.keys()].filter((hash) => !usages.has(hash));
  write([forget(gone)]);

  function write(statements: Statement[]): void {
    database.write(statements).catch((error: unknown) => onError(from(error, "recording the use of blobs")));
  }

  return {
    used(stored) {
      const present = stored.filter(({ digest }) => digest.sizeBytes > 0);
      if (present.length === 0) return;
      const lastUseMs = clock.nowMs();
      for (const file of present) note(file, lastUseMs);
      const sql = `INSERT INTO blobs (hash, size_bytes, last_use_ms)
        SELECT value ->> 0, value ->> 1, ? FROM json_each(?) WHERE true
        ON CONFLICT (hash) DO UPDATE SET last_use_ms = excluded.last_use_ms`;
      const values = JSON.stringify(present.map(({ digest: { hash, sizeBytes } }) => [hash, sizeBytes]));
      write([{ sql, params: [lastUseMs, values] }]);
    },
    removed(digests) {
      for (const { hash } of digests) {
        const usage = usages.get(hash);
        if (usage !== undefined) bytes -= bytesOf(usage);
        usages.delete(hash);
      }
      write([forget(digests.map(({ hash }) => hash))]);
    },
    *blobs() {
      for (const [hash, usage] of usages) {
        yield { digest: { hash, sizeBytes: usage.sizeBytes }, bytes: bytesOf(usage), lastUseMs: usage.lastUseMs };
      }
    },
    bytes: () => bytes,
  };
}

function bytesOf({ sizeBytes, hasExecutable }: Usage): number {
  return hasExecutable ? 2 * sizeBytes : sizeBytes;
}

function forget(hashes: readonly string[]): Statement {
  return { sql: "DELETE FROM blobs WHERE hash IN (SELECT value FROM json_each(?))", params: [JSON.stringify(hashes)] };
}

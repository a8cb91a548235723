import { randomUUID } from "node:crypto";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { removeTree } from "../../shared/remove-tree.ts";
import type { SchemaPart, Sqlite, Statement } from "../../shared/sqlite/sqlite.ts";
import type { EvictableCaches } from "./named-caches.ts";

export const namedCacheSchema: SchemaPart = {
  name: "named-caches",
  migrations: [
    `-- The version of each named cache that counts. A folder without a row is left over, a row without its folder is lost.
   CREATE TABLE named_caches (
     id TEXT PRIMARY KEY,
     project TEXT NOT NULL,
     name TEXT NOT NULL,
     version TEXT NOT NULL,
     -- Of names, modes, sizes and times.
     fingerprint TEXT NOT NULL,
     size_bytes INTEGER NOT NULL,
     last_use_ms INTEGER NOT NULL
   ) STRICT, WITHOUT ROWID;`,
  ],
};

/** What a cache held after one task. Nobody writes to its folder. */
export interface CacheVersion {
  readonly folder: string;
  readonly fingerprint: string;
  readonly sizeBytes: number;
}

/** Which cache it is, for the machine and for people. */
export interface CacheLabel {
  readonly id: string;
  readonly project: string;
  readonly name: string;
}

/** The versions that count, each until another one takes its place and no task holds it any more. */
export interface CacheShelf extends EvictableCaches {
  /** The version that counts now; it stays until it is released. */
  take(id: string): CacheVersion | undefined;
  release(version: CacheVersion): void;
  /** A folder for a new version, not made yet. */
  newFolder(id: string): string;
  /** Makes a version the one that counts, once that is on disk. Throws as `Sqlite.write` does; the one before then stays. */
  put(label: CacheLabel, version: CacheVersion): Promise<void>;
  /** Forgets the cache if this is still its version. */
  drop(id: string, version: CacheVersion): void;
  /** Removes a folder in the background. */
  remove(folder: string): void;
  close(): Promise<void>;
}

export interface CacheShelfOptions {
  readonly database: Pick<Sqlite, "write" | "query">;
  /** Has a folder for each cache, and in it one for each version; made when it is not there. */
  readonly folder: string;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
}

interface Cache {
  readonly version: CacheVersion;
  lastUseMs: number;
}

interface Row {
  id: string;
  version: string;
  fingerprint: string;
  size_bytes: number;
  last_use_ms: number;
}

/**
 * Versions as folders. The table decides which count: its row is written when the folder is whole, so a crash leaves the
 * version before or the one after. What a crash left besides is removed.
 */
export async function openCacheShelf(options: CacheShelfOptions): Promise<CacheShelf> {
  const { database, folder, clock, onError } = options;
  mkdirSync(folder, { recursive: true });
  const rows = await database.query<Row>("SELECT id, version, fingerprint, size_bytes, last_use_ms FROM named_caches");
  /** By id. Bounded by `limits.namedCachesKept` beside those in use. */
  const caches = new Map<string, Cache>();
  const users = new Map<CacheVersion, number>();
  const removals = new Set<Promise<void>>();

  function remove(path: string): void {
    const removal = removeTree(path)
      .catch((error: unknown) => onError(from(error, "removing a named cache")))
      .finally(() => removals.delete(removal));
    removals.add(removal);
  }

  function note(statement: Statement): void {
    database.write([statement]).catch((error: unknown) => onError(from(error, "recording the use of named caches")));
  }

  function counts(version: CacheVersion): boolean {
    for (const cache of caches.values()) if (cache.version === version) return true;
    return false;
  }

  function forget(id: string): void {
    const version = caches.get(id)?.version;
    caches.delete(id);
    note({ sql: "DELETE FROM named_caches WHERE id = ?", params: [id] });
    if (version !== undefined && !users.has(version)) remove(version.folder);
  }

  function* idle() {
    for (const [id, { version, lastUseMs }] of caches) {
      if (!users.has(version)) yield { id, bytes: version.sizeBytes, lastUseMs };
    }
  }

  for (const { id, version: name, fingerprint, size_bytes: sizeBytes, last_use_ms: lastUseMs } of rows) {
    const version = { folder: join(folder, id, name), fingerprint, sizeBytes };
    // A time from the future, of a clock that has been put right since, would keep a cache for ever.
    caches.set(id, { version, lastUseMs: Math.min(lastUseMs, clock.nowMs()) });
    if (!existsSync(version.folder)) forget(id);
  }
  removeLeftovers(folder, new Set([...caches.values()].map(({ version }) => version.folder)), remove);

  return {
    take(id) {
      const cache = caches.get(id);
      if (cache === undefined) return undefined;
      cache.lastUseMs = clock.nowMs();
      note({ sql: "UPDATE named_caches SET last_use_ms = ? WHERE id = ?", params: [cache.lastUseMs, id] });
      users.set(cache.version, (users.get(cache.version) ?? 0) + 1);
      return cache.version;
    },
    release(version) {
      const left = (users.get(version) ?? 0) - 1;
      if (left > 0) users.set(version, left);
      else users.delete(version);
      if (left === 0 && !counts(version)) remove(version.folder);
    },
    newFolder: (id) => join(folder, id, randomUUID()),
    async put({ id, project, name }, version) {
      const lastUseMs = clock.nowMs();
      const sql = `INSERT OR REPLACE INTO named_caches (id, project, name, version, fingerprint, size_bytes, last_use_ms)
        VALUES (?, ?, ?, ?, ?, ?, ?)`;
      const file = version.folder.slice(version.folder.lastIndexOf("/") + 1);
      const { fingerprint, sizeBytes } = version;
      await database.write([{ sql, params: [id, project, name, file, fingerprint, sizeBytes, lastUseMs] }]);
      const before = caches.get(id)?.version;
      caches.set(id, { version, lastUseMs });
      if (before !== undefined && !users.has(before)) remove(before.folder);
      if (caches.size <= limits.namedCachesKept) return;
      const oldest = [...idle()].sort((a, b) => a.lastUseMs - b.lastUseMs)[0];
      if (oldest !== undefined) forget(oldest.id);
    },
    drop(id, version) {
      if (caches.get(id)?.version === version) forget(id);
    },
    remove,
    idle,
    bytes: () => [...caches.values()].reduce((sum, { version }) => sum + version.sizeBytes, 0),
    async evict(ids) {
      const unused = new Set([...idle()].map(({ id }) => id));
      for (const id of ids) if (unused.has(id)) forget(id);
      await Promise.all(removals);
    },
    async close() {
      await Promise.all(removals);
    },
  };
}

/** Folders of versions that do not count: half of one, or one that lost its row. */
function removeLeftovers(folder: string, counted: ReadonlySet<string>, remove: (path: string) => void): void {
  for (const id of readdirSync(folder)) {
    for (const name of readdirSync(join(folder, id))) {
      const path = join(folder, id, name);
      if (!counted.has(path)) remove(path);
    }
  }
}

import { hash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, realpathSync, rmSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { digestEquals } from "../digest.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { openSqlite } from "../sqlite/open.ts";
import type { SchemaPart, Sqlite, Statement } from "../sqlite/sqlite.ts";
import { equalStats, isSettled, wentBack } from "./file-stats.ts";
import { type FolderRecord, type KnownFile, type PackedRecord, packRecord, unpackRecord } from "./folder-record.ts";
import type { ScannedFile, SnapshotRecord, StatCache } from "./stat-cache.ts";

const schema: SchemaPart = {
  name: "stat-cache",
  migrations: [
    `-- Files directly in one folder of the source, packed and with a checksum by folder-record.ts.
   CREATE TABLE folders (path TEXT PRIMARY KEY, files BLOB NOT NULL, checksum BLOB NOT NULL) STRICT, WITHOUT ROWID;
   -- The last snapshot: when it began, in wall time, and the digests of its Directories, one a line.
   CREATE TABLE snapshots (
     id INTEGER PRIMARY KEY CHECK (id = 1),
     started_ms INTEGER NOT NULL,
     directories TEXT NOT NULL
   ) STRICT;`,
  ],
};

export interface StatCacheOptions {
  /** Holds one database for each source; made when it is not there. */
  readonly folder: string;
  /** The directory that is scanned. */
  readonly source: string;
  /** When this snapshot begins, in wall time. */
  readonly startedMs: number;
  /** Told why something is read again that might have been known. Everything else goes on. */
  readonly onProblem: (problem: MillraceError) => void;
}

interface LastSnapshot {
  readonly started_ms: number;
  readonly directories: string;
}

/** A database with what was in it. */
interface Loaded {
  readonly sqlite: Sqlite;
  readonly records: ReadonlyMap<string, PackedRecord>;
  readonly directories: ReadonlySet<string>;
  /** Whether the records are all that the table holds; if not, what is saved must replace it whole. */
  readonly isWhole: boolean;
}

/**
 * The stat cache of one source in a SQLite database of its own. Never throws: a damaged database is removed and begun
 * anew, and where there can be none (no permission, no space), nothing is known and nothing is remembered.
 */
export async function openStatCache(options: StatCacheOptions): Promise<StatCache> {
  try {
    return statCache(await openDatabase(options), options);
  } catch (error) {
    options.onProblem(from(error, "every file is read: the stat cache cannot be used"));
    return { digestOf: () => undefined, hadDirectory: () => false, save: async () => {}, close: async () => {} };
  }
}

async function openDatabase(options: StatCacheOptions): Promise<Loaded> {
  const { folder, source, onProblem } = options;
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, `${hash("sha256", realpathSync(source)).slice(0, 32)}.sqlite`);
  if (!existsSync(path)) removeOldest(folder);
  const loaded = await load(path, options).catch((error: unknown) => {
    const failure = from(error);
    // Damaged, or of another release: there is nothing in it that could not be found out again.
    if (failure.code !== "data_loss" && failure.code !== "failed_precondition") throw failure;
    onProblem(from(failure, "every file is read: the stat cache is begun anew"));
    removeDatabase(path);
    return load(path, options);
  });
  const now = new Date();
  utimesSync(path, now, now); // when it was last used
  return loaded;
}

async function load(path: string, { startedMs, onProblem }: StatCacheOptions): Promise<Loaded> {
  const sqlite = await openSqlite({ path, schema: [schema], onError: onProblem });
  try {
    const [last] = await sqlite.query<LastSnapshot>("SELECT started_ms, directories FROM snapshots");
    if (last !== undefined && wentBack(last.started_ms, startedMs)) {
      onProblem(new MillraceError("aborted", "every file is read: the clock went back since the last snapshot"));
      return { sqlite, records: new Map(), directories: new Set(), isWhole: false };
    }
    const rows = await sqlite.query<PackedRecord & { path: string }>("SELECT path, files, checksum FROM folders");
    const directories = new Set(last?.directories.split("\n"));
    return { sqlite, records: new Map(rows.map((row) => [row.path, row])), directories, isWhole: true };
  } catch (error) {
    await sqlite.close();
    throw error;
  }
}

/** Makes room for one more source. */
function removeOldest(folder: string): void {
  const databases = readdirSync(folder)
    .filter((name) => name.endsWith(".sqlite"))
    .map((name) => join(folder, name))
    .map((path) => ({ path, usedMs: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => b.usedMs - a.usedMs);
  for (const { path } of databases.slice(limits.statCachesKept - 1)) removeDatabase(path);
}

/** A process that has it open goes on with what nobody else sees any more. */
function removeDatabase(path: string): void {
  for (const suffix of ["", "-wal", "-shm"]) rmSync(path + suffix, { force: true });
}

function statCache(
  { sqlite, records, directories, isWhole }: Loaded,
  { startedMs, onProblem }: StatCacheOptions,
): StatCache {
  /** Unpacked when first asked for. */
  const folders = new Map<string, FolderRecord>();
  const damaged: string[] = [];
  let saving: Promise<void> = Promise.resolve();

  function recordOf(folder: string): FolderRecord {
    let record = folders.get(folder);
    if (record !== undefined) return record;
    const packed = records.get(folder);
    record = packed === undefined ? new Map() : unpackRecord(folder, packed);
    if (record === undefined) damaged.push(folder);
    folders.set(folder, record ?? new Map());
    return record ?? new Map();
  }

  /** Every file was recognised, and no record is left over: what a snapshot says of files is in the table already. */
  function isAllRecorded({ scanned, filesRead }: SnapshotRecord): boolean {
    if (filesRead > 0 || folders.size < records.size) return false;
    let recorded = 0;
    for (const record of folders.values()) recorded += record.size;
    return recorded === scanned.length;
  }

  /** What makes the table's records those of the snapshot. */
  function changesFor({ scanned }: SnapshotRecord): Statement[] {
    const statements: Statement[] = isWhole ? [] : [{ sql: "DELETE FROM folders" }];
    const found = settledByFolder(scanned, startedMs);
    for (const [folder, record] of found) {
      if (isSame(recordOf(folder), record)) continue;
      const { files: bytes, checksum } = packRecord(folder, record);
      const sql = "INSERT OR REPLACE INTO folders (path, files, checksum) VALUES (?, ?, ?)";
      statements.push({ sql, params: [folder, bytes, checksum] });
    }
    for (const folder of records.keys()) {
      if (!found.has(folder)) statements.push({ sql: "DELETE FROM folders WHERE path = ?", params: [folder] });
    }
    return statements;
  }

  async function save(snapshot: SnapshotRecord): Promise<void> {
    if (damaged.length > 0) {
      const which = damaged.map((folder) => `"${folder}"`).join(", ");
      onProblem(new MillraceError("data_loss", `files were read again, the stat cache is damaged: folder ${which}`));
    }
    const changes = isAllRecorded(snapshot) ? [] : changesFor(snapshot);
    const sql = "INSERT OR REPLACE INTO snapshots (id, started_ms, directories) VALUES (1, ?, ?)";
    const params = [startedMs, [...snapshot.tree.directories.keys()].join("\n")];
    try {
      await sqlite.write([...changes, { sql, params }]);
    } catch (error) {
      onProblem(from(error, "the next snapshot reads more than it must: the stat cache was not brought up to date"));
    }
  }

  return {
    digestOf(path, stats) {
      const { folder, name } = splitName(path);
      const known = recordOf(folder).get(name);
      return known !== undefined && equalStats(known.stats, stats) ? known.digest : undefined;
    },
    hadDirectory: (key) => directories.has(key),
    save(snapshot) {
      saving = saving.then(() => save(snapshot));
      return saving;
    },
    async close() {
      await saving;
      await sqlite.close();
    },
  };
}

/** What may be recognised later, by the racy-clean rule. */
function settledByFolder(files: readonly ScannedFile[], startedMs: number): Map<string, Map<string, KnownFile>> {
  const folders = new Map<string, Map<string, KnownFile>>();
  for (const { path, stats, digest } of files) {
    // The size is kept once, for both: a file that grew while it was read is not known.
    if (!isSettled(stats, startedMs) || stats.sizeBytes !== digest.sizeBytes) continue;
    const { folder, name } = splitName(path);
    const record = folders.get(folder) ?? new Map<string, KnownFile>();
    folders.set(folder, record.set(name, { stats, digest }));
  }
  return folders;
}

function isSame(a: FolderRecord, b: FolderRecord): boolean {
  if (a.size !== b.size) return false;
  for (const [name, { stats, digest }] of b) {
    const known = a.get(name);
    if (known === undefined || !equalStats(known.stats, stats) || !digestEquals(known.digest, digest)) return false;
  }
  return true;
}

function splitName(path: string): { folder: string; name: string } {
  const slash = path.lastIndexOf("/");
  return { folder: path.slice(0, Math.max(0, slash)), name: path.slice(slash + 1) };
}

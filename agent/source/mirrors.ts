import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { diskFloorBytes, diskSpace } from "../../shared/disk-space.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { limits } from "../../shared/limits.ts";
import { removeTree } from "../../shared/remove-tree.ts";
import type { Sqlite } from "../../shared/sqlite/sqlite.ts";
import { Refused } from "../executor/executor.ts";
import { turns } from "../operations/turns.ts";
import { type ObjectMap, sqliteObjectMap } from "./object-map.ts";

/** A bare repository of the agent's own, for one that is elsewhere. It may be empty, or not even begun. */
export interface Mirror {
  readonly folder: string;
  readonly objects: ObjectMap;
  /** Counts one; see `limits.mirrorFetches`. */
  fetched(): void;
}

/** The mirrors of an agent, one for each repository that it has imported from lately. */
export interface Mirrors {
  /**
   * Lends the mirror of a repository, to one at a time. Work that fails with `data_loss` is done once more on a new mirror;
   * it ends by the signal, which also aborts when the mirror grows beyond its bound.
   */
  use<T>(url: string, signal: AbortSignal, work: Work<T>): Promise<T>;
}

type Work<T> = (mirror: Mirror, signal: AbortSignal) => Promise<T>;

export interface MirrorsOptions {
  readonly database: Pick<Sqlite, "query" | "write">;
  readonly folder: string;
  readonly clock: Clock;
  /** Told of mirrors that were damaged. */
  readonly onError: (error: MillraceError) => void;
}

interface Row {
  readonly id: number;
  readonly url: string;
  readonly fetches: number;
  readonly size_bytes: number;
}

/** Opens what earlier starts have left, without what they had begun to remove. */
export async function openMirrors({ database, folder, clock, onError }: MirrorsOptions): Promise<Mirrors> {
  const lines = turns();
  /** Repositories whose mirror is lent or about to be: it is not removed. At most as many as the agent has slots. */
  const lent = new Set<string>();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const folderOf = (id: number) => join(folder, String(id));
  const known = await database.query<Row>("SELECT id, url, fetches, size_bytes FROM git_mirror");
  const ids = new Set(known.map(({ id }) => String(id)));
  for (const name of readdirSync(folder)) if (!ids.has(name)) await removeTree(join(folder, name));

  async function find(url: string): Promise<Row> {
    const sql = "SELECT id, url, fetches, size_bytes FROM git_mirror WHERE url = ?";
    const insert = "INSERT OR IGNORE INTO git_mirror (url, last_use_ms) VALUES (?, ?)";
    await database.write([{ sql: insert, params: [url, clock.nowMs()] }]);
    const [row] = await database.query<Row>(sql, [url]);
    return row ?? { id: 0, url, fetches: 0, size_bytes: 0 };
  }

  /** Its row first: a folder without one is removed by the next start. */
  async function remove(id: number): Promise<void> {
    await database.write([
      { sql: "DELETE FROM git_mirror WHERE id = ?", params: [id] },
      { sql: "DELETE FROM git_object WHERE mirror = ?", params: [id] },
    ]);
    await removeTree(folderOf(id));
  }

  async function lend<T>(row: Row, signal: AbortSignal, work: Work<T>) {
    const { id } = row;
    let { fetches } = row;
    mkdirSync(folderOf(id), { recursive: true });
    const bound = boundedBy(folderOf(id), clock);
    const mirror: Mirror = {
      folder: folderOf(id),
      objects: sqliteObjectMap(database, id),
      fetched: () => void (fetches += 1),
    };
    try {
      return await work(mirror, AbortSignal.any([signal, bound.signal]));
    } catch (error) {
      throw bound.signal.aborted ? bound.signal.reason : error;
    } finally {
      bound.close();
      const sql = "UPDATE git_mirror SET fetches = ?, size_bytes = ?, last_use_ms = ? WHERE id = ?";
      await database.write([{ sql, params: [fetches, sizeOf(folderOf(id)), clock.nowMs(), id] }]);
    }
  }

  /** If it turns out to be damaged, another one in its place. */
  async function lendSound<T>(row: Row, signal: AbortSignal, work: Work<T>) {
    try {
      return await lend(row, signal, work);
    } catch (error) {
      const failure = from(error, `the mirror of ${row.url} is made anew`);
      if (error instanceof Refused && sizeOf(folderOf(row.id)) > limits.mirrorBytes) await remove(row.id);
      if (failure.code !== "data_loss" || signal.aborted) throw error;
      onError(failure);
      await remove(row.id);
      return await lend(await find(row.url), signal, work);
    }
  }

  async function useInTurn<T>(url: string, signal: AbortSignal, work: Work<T>) {
    lent.add(url); // before its row is looked up, or that could be of one that goes
    try {
      const row = await find(url);
      if (row.fetches < limits.mirrorFetches) return await lendSound(row, signal, work);
      await remove(row.id);
      return await lendSound(await find(url), signal, work);
    } finally {
      lent.delete(url);
      await makeRoom();
    }
  }

  function isDiskLow(): boolean {
    const { freeBytes, sizeBytes } = diskSpace(folder);
    return freeBytes < diskFloorBytes(sizeBytes);
  }

  async function makeRoom(): Promise<void> {
    const sql = "SELECT id, url, fetches, size_bytes FROM git_mirror ORDER BY last_use_ms DESC";
    let bytes = 0;
    let count = 0;
    for (const { id, url, size_bytes: sizeBytes } of await database.query<Row>(sql)) {
      bytes += sizeBytes;
      count += 1;
      const isIdle = !lent.has(url);
      // The disk is for tasks first; the one that was just used stays as long as others may go.
      const isTooMuch = bytes > limits.mirrorsBytes || count > limits.mirrorsKept || (count > 1 && isDiskLow());
      if (isTooMuch && isIdle) await remove(id);
    }
  }

  return {
    async use(url, signal, work) {
      signal.throwIfAborted();
      const waiting = Promise.withResolvers<never>();
      const leave = () => waiting.reject(signal.reason);
      signal.addEventListener("abort", leave);
      const done = lines.take(url, async () => {
        signal.removeEventListener("abort", leave); // from here on the work itself ends by it
        signal.throwIfAborted();
        return await useInTurn(url, signal, work);
      });
      return await Promise.race([done, waiting.promise]);
    },
  };
}

/** Aborts when a folder has become too large. */
function boundedBy(folder: string, clock: Clock) {
  const tooLarge = new AbortController();
  let cancel = () => {};
  const check = () => {
    if (sizeOf(folder) > limits.mirrorBytes) {
      tooLarge.abort(
        new Refused(
          `the repository takes more than ${formatBytes(limits.mirrorBytes)}, which is the most that an agent keeps of one: keep large files elsewhere, and fetch them in a task`,
        ),
      );
    } else cancel = clock.after(limits.mirrorCheckMs, check);
  };
  cancel = clock.after(limits.mirrorCheckMs, check);
  return { signal: tooLarge.signal, close: () => cancel() };
}

/** Of all files below; git removes some while we look. */
function sizeOf(folder: string): number {
  let bytes = 0;
  const visit = (path: string): void => {
    for (const name of readdirSync(path)) {
      const child = join(path, name);
      const stats = lstatSync(child, { throwIfNoEntry: false });
      if (stats?.isDirectory()) visit(child);
      else bytes += stats?.size ?? 0;
    }
  };
  try {
    visit(folder);
  } catch (error) {
    if (from(error).code !== "not_found") throw error; // a folder that was just removed
  }
  return bytes;
}

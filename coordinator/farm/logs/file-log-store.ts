import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { type Changes, changes } from "../../../shared/changes.ts";
import type { Clock } from "../../../shared/clock.ts";
import { storageFailure } from "../../../shared/disk-space.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { handlePool } from "./handle-pool.ts";
import { type LogCursor, type LogFile, openLogFile } from "./log-file.ts";
import type { LogKeeping } from "./log-keeping.ts";
import { logPath } from "./log-path.ts";
import type { LogStore } from "./log-store.ts";
import { syncQueue } from "./sync-queue.ts";

export interface FileLogStoreOptions {
  /** The folder of the logs, of this store alone; made when it is not there. */
  readonly dir: string;
  readonly clock: Clock;
}

/**
 * Logs as plain files that an operator can `grep`; see log-path.ts for their names and log-file.ts for their form.
 *
 * Many small appends to many logs stay cheap: bytes go to the page cache at once, where readers see them, and each log
 * with new bytes waits for one of `limits.logSyncs` turns to be brought to disk. Whatever is appended while it waits
 * shares its one fdatasync, so the disk is never asked for more syncs than it can do, and a slow disk makes answers
 * later but not more expensive.
 */
export async function openFileLogStore({
  dir,
  clock,
}: FileLogStoreOptions): Promise<LogStore & LogKeeping & { close(): Promise<void> }> {
  await mkdir(dir, { recursive: true });
  const files = handlePool({ max: limits.openLogs, open: openLogFile, close: (file) => file.close() });
  const syncs = syncQueue((file: LogFile) => file.sync(), { concurrency: limits.logSyncs });
  const watched = watchedLogs();
  let closing: Promise<void> | undefined;

  async function use<R>(path: string, doing: string, work: (file: LogFile) => Promise<R>): Promise<R> {
    if (closing !== undefined) throw new MillraceError("unavailable", `${doing} ${path}.log: the log store is closed`);
    try {
      return await files.use(path, work);
    } catch (error) {
      throw storageFailure(error, `${doing} ${path}.log`, { owner: "the coordinator", folder: dir });
    }
  }

  return {
    append(log, chunk) {
      const path = logPath(dir, log);
      checkOffset(chunk.offset, path);
      return use(path, "appending to", async (file) => {
        if (await file.write(chunk)) watched.announce(path);
        if (file.size() > file.syncedSize()) await syncs.request(file);
        return file.syncedSize();
      });
    },

    async finish(log, end) {
      const path = logPath(dir, log);
      await use(path, "finishing", async (file) => {
        await syncs.request(file); // waits for its turn, so that little is left to do in the next call
        await file.finish(clock.nowMs(), end);
      });
      watched.announce(path);
    },

    async endOf(log) {
      return await use(logPath(dir, log), "reading", async (file) => file.ended());
    },

    async *read(log, { offset, follow, signal }) {
      const path = logPath(dir, log);
      checkOffset(offset, path);
      const watch = watched.join(path);
      try {
        let cursor: LogCursor = { offset };
        while (!signal.aborted) {
          const version = watch.version();
          const { chunks, next, hasEnded } = await use(path, "reading", async (file) => {
            const ended = file.ended(); // asked first: what it says is the end, the read has seen
            return { ...(await file.read(cursor)), hasEnded: ended !== undefined };
          });
          for (const chunk of chunks) {
            if (signal.aborted) return;
            yield chunk;
          }
          const moved = next.entry !== cursor.entry;
          cursor = next;
          if (chunks.length > 0 || moved) continue;
          if (!follow || hasEnded) return;
          await watch.after(version, signal);
        }
      } finally {
        watched.leave(path);
      }
    },

    async runs() {
      const entries = await readdir(dir, { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    },

    async remove(run) {
      const folder = dirname(logPath(dir, { executionId: run, attempt: 1 }));
      await rm(folder, { recursive: true, force: true });
      await files.drop((path) => dirname(path) === folder);
    },

    close() {
      closing ??= files.close();
      watched.announceAll();
      return closing;
    },
  };
}

function checkOffset(offset: number, path: string): void {
  if (!Number.isSafeInteger(offset) || offset < 0) {
    throw new MillraceError("invalid_argument", `${offset} is no offset in ${path}.log`);
  }
}

/** Who reads which log, so that an append wakes its followers and nobody else. */
function watchedLogs() {
  const logs = new Map<string, { readonly changes: Changes; readers: number }>();
  let readers = 0;
  return {
    join(path: string): Changes {
      if (readers >= limits.logReaders) {
        throw new MillraceError("resource_exhausted", `reading ${path}.log: ${readers} others read logs already`);
      }
      readers += 1;
      const log = logs.get(path) ?? { changes: changes(), readers: 0 };
      log.readers += 1;
      logs.set(path, log);
      return log.changes;
    },
    leave(path: string): void {
      readers -= 1;
      const log = logs.get(path);
      if (log === undefined) return;
      log.readers -= 1;
      if (log.readers === 0) logs.delete(path);
    },
    announce: (path: string) => logs.get(path)?.changes.announce(),
    announceAll() {
      for (const log of logs.values()) log.changes.announce();
    },
  };
}

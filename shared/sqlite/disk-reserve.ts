import { statSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { writeFully } from "../cas/files.ts";
import type { Clock } from "../clock.ts";
import { diskSpace } from "../disk-space.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Sqlite, Statement } from "./sqlite.ts";

/** A file that does nothing but take up room, until the room is needed to write down that there is none. */
export interface DiskReserve {
  /**
   * Gives the room back when the disk is full; it is taken again when there is plenty. Whether the room may be free now,
   * by this call or one before.
   */
  release(): Promise<boolean>;
  /** The file stays for the next start. */
  close(): Promise<void>;
}

export interface DiskReserveOptions {
  /** In the folder of the database. Of this reserve alone. */
  readonly file: string;
  readonly clock: Clock;
  /** Told when the room is given back, and when it cannot be taken. */
  readonly onError: (error: MillraceError) => void;
}

/** Takes the room in the background when the disk has plenty, else later. */
export function openDiskReserve({ file, clock, onError }: DiskReserveOptions): DiskReserve {
  // What an earlier start has taken is worth most when there is no room now.
  // A start that ended while it took it has left a part, which may hold nothing.
  let isHeld = (statSync(file, { throwIfNoEntry: false })?.size ?? 0) >= limits.diskReserveBytes;
  let working: Promise<void> = Promise.resolve();
  let cancelCheck = (): void => {};
  let closed = false;

  const freeBytes = () => diskSpace(dirname(file)).freeBytes;

  async function take(): Promise<void> {
    try {
      if (freeBytes() < limits.diskReservePlentyBytes) return checkLater();
      await using handle = await open(file, "w", 0o600);
      // Real bytes: a file system gives a hole no room.
      await writeFully(handle, Buffer.alloc(limits.diskReserveBytes));
      await handle.datasync();
      isHeld = true;
    } catch (error) {
      onError(from(error, `taking the reserve ${file}`));
      await rm(file, { force: true }).catch((failure: unknown) =>
        onError(from(failure, `removing the reserve ${file}`)),
      );
      checkLater();
    }
  }

  function checkLater(): void {
    if (closed) return;
    cancelCheck = clock.after(limits.diskReserveCheckMs, () => {
      working = working.then(take);
    });
  }

  async function giveBack(): Promise<void> {
    if (!isHeld || closed || freeBytes() >= limits.diskFullBytes) return;
    isHeld = false;
    await rm(file, { force: true });
    const message = `the disk is full: the reserve ${file} is given back; free some space or enlarge the disk`;
    onError(new MillraceError("resource_exhausted", message));
    checkLater();
  }

  if (!isHeld) working = take(); // a start need not wait for it
  return {
    async release() {
      working = working
        .then(giveBack)
        .catch((error: unknown) => onError(from(error, `giving back the reserve ${file}`)));
      await working;
      return !isHeld;
    },
    async close() {
      closed = true;
      cancelCheck();
      await working;
    },
  };
}

/**
 * Writes once more with the room of the reserve when the disk is full: so the end of a run that filled the disk can be
 * written down, and nobody waits for it until somebody has made room.
 *
 * A second try keeps its place: it comes after the second tries of the writes before it, and writes that are asked for
 * meanwhile wait. Only those already on their way to the disk when it was found full may come first, if they fit.
 */
export function reservedSqlite(base: Sqlite, reserve: Pick<DiskReserve, "release">): Sqlite {
  /** Writes that wait for their turn and were not sent yet. */
  let waiting = 0;
  /** Times that the disk was found full and writes sent before that have not been answered: they may need a second try. */
  let doubts = 0;
  /** Settles, without a value, when all writes so far have. */
  let allBefore: Promise<void> = Promise.resolve();

  /** Sends it when those before it are done; a turn that `mayGo` denies is given up. */
  async function inTurn(statements: readonly Statement[], before: Promise<void>, mayGo: () => Promise<void>) {
    waiting += 1;
    try {
      await before;
      await mayGo();
    } finally {
      waiting -= 1;
    }
    return await base.write(statements);
  }

  async function write(statements: readonly Statement[], before: Promise<void>): Promise<number[]> {
    try {
      return await (waiting > 0 || doubts > 0
        ? inTurn(statements, before, async () => undefined)
        : base.write(statements));
    } catch (error) {
      if (from(error).code !== "resource_exhausted") throw error;
      doubts += 1;
      void allBefore.then(() => {
        doubts -= 1;
      });
      return await inTurn(statements, before, async () => {
        if (!(await reserve.release())) throw error;
      });
    }
  }

  return {
    ...base,
    write(statements) {
      const written = write(statements, allBefore);
      allBefore = Promise.allSettled([allBefore, written]).then(() => undefined);
      return written;
    },
  };
}

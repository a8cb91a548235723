import { statSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { writeFully } from "../cas/files.ts";
import type { Clock } from "../clock.ts";
import { diskSpace } from "../disk-space.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Sqlite } from "./sqlite.ts";

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
 */
export function reservedSqlite(base: Sqlite, reserve: Pick<DiskReserve, "release">): Sqlite {
  return {
    ...base,
    async write(statements) {
      try {
        return await base.write(statements);
      } catch (error) {
        if (from(error).code !== "resource_exhausted" || !(await reserve.release())) throw error;
        return await base.write(statements);
      }
    },
  };
}

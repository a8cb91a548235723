import { constants, copyFileSync, existsSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

/**
 * The agent's database as it was before a newer program opened it. A newer program may change its tables, which the older
 * one would refuse; while it is tried it takes no work, so nothing is lost when its changes are.
 */
export interface DatabaseCopy {
  /** The database must be closed. */
  make(): void;
  /** Puts the copy back; nothing when there is none. */
  restore(): void;
  drop(): void;
}

/** @param file of the database */
export function databaseCopy(file: string): DatabaseCopy {
  const copy = `${file}.before-upgrade`;
  return {
    make() {
      if (!existsSync(file)) return;
      // Under another name first: what bears the name of the copy is whole.
      copyFileSync(file, `${copy}.new`, constants.COPYFILE_FICLONE);
      renameSync(`${copy}.new`, copy);
    },
    restore() {
      if (!existsSync(copy)) return;
      for (const side of ["-wal", "-shm"]) rmSync(`${file}${side}`, { force: true });
      renameSync(copy, file);
    },
    drop: () => rmSync(copy, { force: true }),
  };
}

/** In an agent's data folder. */
export const databaseFile = (data: string): string => join(data, "agent.sqlite");

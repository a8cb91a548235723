import { systemClock } from "../../shared/clock.ts";
import type { MillraceError } from "../../shared/errors.ts";
import { version } from "../../shared/version.ts";
import type { AgentConfig } from "../config.ts";
import { databaseCopy, databaseFile } from "./database-copy.ts";
import { canExchange, installation } from "./installation.ts";
import { readUpgradeRecord, writeUpgradeRecord } from "./upgrade-record.ts";
import { settleUpgrade, type Upgrader, upgrader } from "./upgrader.ts";

/** What the program of an agent needs to know of its upgrades. */
export interface Upgrades extends Pick<Upgrader, "offered" | "end"> {
  /** The last that did not come about. */
  readonly failed: ReturnType<typeof settleUpgrade>["failed"];
  /** When the agent has closed, the last thing of all. Does not return when a program takes over, the new or the old one. */
  conclude(): Promise<void>;
}

export interface UpgradesOptions {
  readonly say: (what: string) => void;
  readonly onError: (error: MillraceError) => void;
  /** Has the agent finish what it holds, and close. */
  readonly drain: (why: string) => void;
}

/**
 * Opens upgrades for an agent that may exchange its own executable; undefined for any other: one that was not
 * told so, runs from a checkout, is a child of `millrace up`, or is only tried. Called before the agent opens its database.
 * @throws MillraceError data_loss when what an earlier start wrote down is damaged
 */
export function openUpgrades(config: AgentConfig, wired: UpgradesOptions): Upgrades | undefined {
  const executable = process.execPath;
  if (config.upgrade !== true || config.trial === true || process.send !== undefined || !canExchange(executable))
    return undefined;
  const args = process.argv.slice(2);
  const options = {
    ownVersion: version,
    installation: installation(executable),
    database: databaseCopy(databaseFile(config.data)),
    record: {
      read: () => readUpgradeRecord(config.data),
      write: (record: Parameters<typeof writeUpgradeRecord>[1]) => writeUpgradeRecord(config.data, record),
    },
    clock: systemClock,
  };
  const { failed } = settleUpgrade(options);
  const { offered, end, conclude } = upgrader({
    ...options,
    ...wired,
    args,
  });
  return {
    ...{ failed, offered, end },
    async conclude() {
      // The same process id: a service manager sees one service that goes on.
      if ((await conclude()) !== undefined) process.execve?.(executable, [executable, ...args]);
    },
  };
}

import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type RetryOptions, retryDelayMs } from "../../shared/retry.ts";
import { isAlive, type RunningProcess } from "../../shared/running-process.ts";
import type { SchemaPart, Sqlite } from "../../shared/sqlite/sqlite.ts";
import { startUnitProcess, type UnitSpec } from "./start-unit-process.ts";
import { boundUnitLog } from "./unit-log.ts";
import { endProcesses, processesWith } from "./unit-process.ts";

/** How a unit does at this moment. */
export interface UnitStatus {
  readonly spec: UnitSpec;
  /** The process that runs now; another one after each start. */
  readonly process: RunningProcess | undefined;
  /** How the last process ended; empty when none has. */
  readonly lastEnd: string;
}

/**
 * Long-lived processes that the agent keeps running: started again, with growing pauses, whenever they end. They live
 * through the agent's own end, and its next start takes them up. Calls for one unit come one after another.
 */
export interface Units {
  /** Replaces what the unit ran before. Resolves when the process was started. */
  start(name: string, spec: UnitSpec): Promise<void>;
  /** Ends all of its processes; the unit is known no more. Throws as `endProcesses`. */
  stop(name: string): Promise<void>;
  status(name: string): UnitStatus | undefined;
  /** Supervises no longer. `end` ends the processes, too; the next start of the agent starts them again. */
  close(end: boolean): Promise<void>;
}

export const unitSchema: SchemaPart = {
  name: "units",
  migrations: [
    `-- Units that shall run. The token is on disk before the process is started, so that one whose start was the last
   -- thing that an agent did is found again.
   CREATE TABLE units (
     name TEXT PRIMARY KEY,
     spec TEXT NOT NULL,
     token TEXT NOT NULL,
     pid INTEGER,
     start_time TEXT
   ) STRICT;`,
  ],
};

export interface UnitsOptions {
  readonly database: Pick<Sqlite, "write" | "query">;
  /** For the output of units. */
  readonly folder: string;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
}

interface Unit {
  readonly name: string;
  readonly spec: UnitSpec;
  readonly token: string;
  process: RunningProcess | undefined;
  startedMs: number;
  /** In a row, each soon after its start. */
  failures: number;
  lastEnd: string;
  /** A start that is due. */
  cancelStart: (() => void) | undefined;
}

interface Row {
  name: string;
  spec: string;
  token: string;
  pid: number | null;
  start_time: string | null;
}

const pace: Pick<RetryOptions, "baseMs" | "maxMs" | "random"> = {
  baseMs: limits.unitPauseMs,
  maxMs: limits.unitPauseMaxMs,
  random: () => 1,
};

/** Takes up what an earlier start of the agent left: adopts what runs, starts what does not. */
export async function openUnits({ database, folder, clock, onError }: UnitsOptions): Promise<Units> {
  /** Bounded by the apps of the environments on this host. */
  const units = new Map<string, Unit>();
  let closed = false;
  let cancelCheck = (): void => {};
  mkdirSync(folder, { recursive: true });
  const logOf = (name: string) => join(folder, `${name}.log`);

  async function startProcess(unit: Unit): Promise<void> {
    unit.cancelStart = undefined;
    try {
      // Helpers that the last process left may hold its port.
      await endProcesses(unit.token, undefined, clock);
      if (closed || units.get(unit.name) !== unit) return;
      unit.startedMs = clock.monotonicMs();
      unit.process = await startUnitProcess(unit.spec, unit.token, logOf(unit.name), (how) => {
        unit.lastEnd = how;
        check(unit);
      });
      if (unit.process === undefined) scheduleStart(unit);
      else await keep(unit);
    } catch (error) {
      unit.lastEnd = from(error).message;
      onError(from(error, `starting the unit ${unit.name}`));
      scheduleStart(unit);
    }
  }

  async function keep({ name, spec, token, process }: Unit): Promise<void> {
    const sql = "INSERT OR REPLACE INTO units (name, spec, token, pid, start_time) VALUES (?, ?, ?, ?, ?)";
    const params = [name, JSON.stringify(spec), token, process?.pid ?? null, process?.startTime ?? null];
    await database.write([{ sql, params }]);
  }

  /** Notices the end of a process. */
  function check(unit: Unit): void {
    if (closed || units.get(unit.name) !== unit || unit.process === undefined || isAlive(unit.process)) return;
    unit.process = undefined;
    if (unit.lastEnd === "") unit.lastEnd = "ended";
    if (clock.monotonicMs() - unit.startedMs >= limits.unitSteadyMs) unit.failures = 0;
    scheduleStart(unit);
  }

  function scheduleStart(unit: Unit): void {
    if (closed || units.get(unit.name) !== unit) return;
    unit.failures += 1;
    unit.cancelStart = clock.after(retryDelayMs(unit.failures, pace), () => void startProcess(unit));
  }

  /** Again and again while there are any: nothing else would wake an idle agent so often. */
  function checkAll(): void {
    cancelCheck();
    for (const unit of units.values()) {
      check(unit);
      try {
        boundUnitLog(logOf(unit.name));
      } catch (error) {
        onError(from(error, `bounding the log of the unit ${unit.name}`));
      }
    }
    cancelCheck = closed || units.size === 0 ? () => {} : clock.after(limits.unitCheckMs, checkAll);
  }

  function newUnit(name: string, spec: UnitSpec, token: string): Unit {
    const startedMs = clock.monotonicMs();
    return { name, spec, token, process: undefined, startedMs, failures: 0, lastEnd: "", cancelStart: undefined };
  }

  async function remove(unit: Unit): Promise<void> {
    units.delete(unit.name);
    unit.cancelStart?.();
    await endProcesses(unit.token, unit.process, clock);
  }

  for (const row of await database.query<Row>("SELECT * FROM units ORDER BY name")) {
    const unit = newUnit(row.name, JSON.parse(row.spec) as UnitSpec, row.token);
    units.set(row.name, unit);
    const known = row.pid === null ? undefined : { pid: row.pid, startTime: row.start_time ?? "" };
    unit.process = known !== undefined && isAlive(known) ? known : processesWith(row.token)[0];
    if (unit.process === undefined) await startProcess(unit);
  }
  checkAll();

  return {
    async start(name, spec) {
      const before = units.get(name);
      if (before !== undefined) await remove(before);
      const unit = newUnit(name, spec, randomUUID());
      await keep(unit);
      units.set(name, unit);
      checkAll();
      await startProcess(unit);
    },
    async stop(name) {
      const unit = units.get(name);
      if (unit === undefined) return;
      await remove(unit);
      await database.write([{ sql: "DELETE FROM units WHERE name = ?", params: [name] }]);
    },
    status: (name) => units.get(name),
    async close(end) {
      closed = true;
      cancelCheck();
      for (const unit of units.values()) unit.cancelStart?.();
      if (end) await Promise.all([...units.values()].map(({ token, process }) => endProcesses(token, process, clock)));
    },
  };
}

import { globSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { vi } from "vitest";
import type { TestFarm } from "../support/farm.ts";
import { pidOf, runnerOf } from "../support/farm-processes.ts";
import { processesAbout } from "../support/process-state.ts";
import { wholeOutput } from "./pipeline.ts";
import type { Part, Round } from "./plan.ts";

/** What a round was like at the moment of its kill. */
export interface Struck {
  /** What each attempt had written by then, by execution and attempt as in `run_1.work.numbers.1`. */
  readonly written: ReadonlyMap<string, string>;
  /** Processes of its tasks by then. */
  readonly taskPids: readonly number[];
}

/** What tells when a crash point is reached, beside the files of agent and coordinator. */
export interface Observed {
  readonly farm: TestFarm;
  /** The run's events so far, in short; see follow.ts. */
  readonly events: readonly string[];
  /** The run's name, which is known before it is submitted: runs are numbered. */
  readonly run: string;
}

/** Looked at again and again: where a moment is missed by a millisecond, the next one will do. */
const patience = { timeout: 30_000, interval: 1 };

/** Waits for the crash point of the round and kills its victims. */
export async function strike(round: Round, observed: Observed): Promise<Struck> {
  const { farm } = observed;
  const pids = round.victims.flatMap((victim) => pidsOf(farm, victim));
  await reached(round, observed);
  const written = new Map(spoolsOf(observed).map((path) => [basename(path), textOf(path)]));
  for (const pid of pids) process.kill(pid, "SIGKILL");
  if (round.victims.includes("up")) await farm.kill();
  return { written, taskPids: processesAbout(round.nonce).map(({ pid }) => pid) };
}

/** Resolves at the crash point of the round. */
async function reached(round: Round, observed: Observed): Promise<void> {
  const { events, farm } = observed;
  const until = (condition: () => boolean) =>
    vi.waitFor(() => {
      if (!condition()) throw new Error(`the point "${round.point}" was not reached: ${events.join(", ")}`);
    }, patience);
  const spool = (task: string) => spoolsOf(observed).find((path) => basename(path).includes(`.${task}.`));
  const isOver = (task: string) => events.includes(`taskFinished ${task}`);
  const printed = (task: string, bytes: number) => until(() => isOver(task) || sizeOf(spool(task)) >= bytes);
  switch (round.point) {
    case "queued":
      return until(() => events.some((event) => /^taskWaiting \w+ busy$/.test(event)));
    case "assigned":
      return until(() => events.some((event) => event.startsWith("taskStarted")));
    case "inputs":
      return until(() => spoolsOf(observed).length > 0);
    case "output":
      return printed("numbers", 1 + Math.floor(round.share * (wholeOutput.length - 1)));
    case "outputs":
      return printed("numbers", wholeOutput.length);
    case "report":
    case "terminal": {
      await until(() => isOver("numbers") || spool("numbers") !== undefined);
      await until(() => isOver("numbers") || spool("numbers") === undefined);
      const database = join(farm.dataDir, "coordinator/coordinator.db-wal");
      for (let write = 0; write < (round.point === "terminal" ? round.write : 0); write += 1) {
        const { mtimeMs } = statSync(database);
        await until(() => statSync(database).mtimeMs !== mtimeMs);
      }
      return;
    }
    case "anywhere":
      return printed(round.task, round.task === "check" ? 1 : Math.floor(round.share * wholeOutput.length));
    default:
      round.point satisfies never;
  }
}

function spoolsOf({ farm, run }: Observed): string[] {
  return globSync(`agents/*/spool/${run}.*`, { cwd: farm.dataDir }).map((path) => join(farm.dataDir, path));
}

function sizeOf(path: string | undefined): number {
  return path === undefined ? -1 : (statSync(path, { throwIfNoEntry: false })?.size ?? -1);
}

function textOf(path: string): string {
  return sizeOf(path) < 0 ? "" : readFileSync(path, "utf8");
}

function pidsOf(farm: TestFarm, victim: Part): number[] {
  switch (victim) {
    case "agent":
      return [pidOf(farm, "agent-1")];
    case "runner":
      return runnerOf(farm, "agent-1");
    case "coordinator":
    case "nats":
      return [pidOf(farm, victim)];
    case "up":
      return []; // killed by who knows it
    default:
      return victim satisfies never;
  }
}

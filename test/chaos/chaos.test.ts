import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { isLong } from "../support/long.ts";
import { isRunning, processesAbout } from "../support/process-state.ts";
import { connect, followRun, readLogs } from "./follow.ts";
import { checkRound } from "./invariants.ts";
import { pipelineOf } from "./pipeline.ts";
import { planRound, type Round } from "./plan.ts";
import { strike } from "./strike.ts";

/*
 * A campaign of kills: each round runs a pipeline on one farm, kills processes of the farm with -9 at a crash point, and
 * checks what must hold afterwards. Three rounds, always the same, are part of `npm test`; `npm run test:chaos` plays 50.
 *
 *   MILLRACE_CHAOS_SEED=7 MILLRACE_CHAOS_FIRST=12 MILLRACE_CHAOS_ROUNDS=1 npm run test:chaos     one round again
 */
/** `npm test` plays the same rounds each time: it judges the change and not the luck of a draw. */
const seed = Number(process.env.MILLRACE_CHAOS_SEED || 15_491_890);
const rounds = Number(process.env.MILLRACE_CHAOS_ROUNDS || 3);
const first = Number(process.env.MILLRACE_CHAOS_FIRST || 0);
/** Rounds on one start of the supervisor: each fall of a child makes its next pause longer. */
const roundsPerStart = 4;
const roundTimeoutMs = 120_000;
/** What is promised on a machine that is not overloaded, as one may be that runs all tests at once. */
const goneMs = isLong ? 2_000 : 10_000;

let farm: TestFarm;
let runs = 0;
const dir = mkdtempSync(join(tmpdir(), "millrace-farm-"));
const start = () => startFarm({ agents: 1, slots: 1, dir });

beforeAll(async () => {
  process.stderr.write(`chaos: MILLRACE_CHAOS_SEED=${seed}, rounds ${first} to ${first + rounds - 1}\n`);
  farm = await start();
});

afterAll(async () => {
  const status = await farm.stop();
  const left = processesAbout(farm.dataDir);
  rmSync(dir, { recursive: true, force: true });
  expect({ status, left }).toEqual({ status: 0, left: [] });
});

async function playRound(round: Round): Promise<void> {
  const { signal, abort } = abortable();
  const services = connect(farm);
  runs += 1;
  const run = `run_${runs}`;
  const names: string[] = [];
  try {
    const striking = strike(round, { farm, events: names, run });
    striking.catch(() => {}); // awaited below
    const source = project({ "millrace.yaml": pipelineOf(round), input: `${round.nonce} `.repeat(1_000_000) });
    const submitted = await farm.cli(["run", source, "--detach", "--json"]);
    // An agent has it by then: when the answer was cut off by the kill, the coordinator has the run all the same.
    if (submitted.status !== 0) await striking;
    const followed = followRun(services, { run, signal, names });
    const struck = await striking;
    if (round.victims.includes("agent") || round.victims.includes("runner")) {
      await vi.waitFor(() => expect(struck.taskPids.filter(isRunning)).toEqual([]), { timeout: goneMs, interval: 20 });
    }
    if (round.victims.includes("up")) farm = await start();
    const events = await followed.events;
    await checkRound(round, {
      ...{ run, struck, events, processStarts: farm.processStarts() },
      followed: await followed.log,
      stored: await readLogs(services, { run, follow: false, signal }),
      late: await readLogs(services, { run, task: "numbers", follow: true, signal }),
      cached: ({ actionDigest }) => services.cache.getActionResult(actionDigest === undefined ? {} : { actionDigest }),
    });
  } catch (error) {
    process.stderr.write(`chaos: round ${round.number} failed after the events ${names.join(", ")}\n`);
    throw error;
  } finally {
    abort();
    services.close();
    if (!isRunning(farm.pid)) farm = await start();
  }
}

function abortable() {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}

describe(`a farm whose processes are killed, seed ${seed}`, () => {
  const planned = Array.from({ length: rounds }, (_, index) => planRound(seed, first + index));
  it.each(planned.map((round) => [round.number, round.victims.join(" and "), round.point, round] as const))(
    "round %d: kill -9 of %s at the point %s",
    async (number, _victims, _point, round) => {
      if (number > first && number % roundsPerStart === 0) {
        expect(await farm.stop()).toBe(0);
        expect(processesAbout(farm.dataDir)).toEqual([]);
        farm = await start();
      }
      await playRound(round);
    },
    roundTimeoutMs,
  );
});

import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { noNetwork } from "../support/network.ts";
import { type NetworkFarm, startNetworkFarm } from "../support/network-farm.ts";
import { archive, tarOf } from "../support/runs.ts";
import { mountSmallDisk, type SmallDisk } from "../support/small-disk.ts";
import { connect, followRun, readLogs } from "./follow.ts";
import { checkNetworkRun, checkNothingLeft, processStarts } from "./network-invariants.ts";
import { networkPipeline } from "./network-pipeline.ts";
import { type NetworkRound, planNetworkRound } from "./network-plan.ts";
import { strikeAll } from "./network-strike.ts";

/*
 * A campaign between machines: each round runs a hundred tasks on three agents while agents, links, connections, disks and
 * files are harmed at random, and checks what must hold afterwards. Two rounds, always the same, are part of `npm test`;
 * `npm run test:chaos` plays as many as it plays of kills.
 *
 *   MILLRACE_CHAOS_SEED=7 MILLRACE_CHAOS_FIRST=12 MILLRACE_CHAOS_ROUNDS=1 npm run test:chaos     one round again
 */
/** `npm test` plays the same rounds each time: it judges the change and not the luck of a draw. */
const seed = Number(process.env.MILLRACE_CHAOS_SEED || 1);
const rounds = Number(process.env.MILLRACE_CHAOS_ROUNDS || 2);
const first = Number(process.env.MILLRACE_CHAOS_FIRST || 0);
const agents = 3;
const diskBytes = 256 * 1024 * 1024;
const roundTimeoutMs = 180_000;

const dir = mkdtempSync(join(tmpdir(), "millrace-disks-"));
const disks: (SmallDisk | undefined)[] = [];
let farm: NetworkFarm | undefined;

beforeAll(async () => {
  process.stderr.write(`network chaos: MILLRACE_CHAOS_SEED=${seed}, rounds ${first} to ${first + rounds - 1}\n`);
  for (let agent = 1; agent <= agents; agent += 1) {
    mkdirSync(join(dir, String(agent)));
    disks.push(mountSmallDisk(diskBytes, join(dir, String(agent))));
  }
  const data = (agent: number) => join(dir, String(agent), "data");
  farm = await startNetworkFarm({ agents, slots: 2, leaseS: 2, proxies: true, data });
  if (farm === undefined) process.stderr.write(`network chaos: ${noNetwork}\n`);
});

afterAll(async () => {
  const statuses = await farm?.remove();
  for (const disk of disks) disk?.remove();
  rmSync(dir, { recursive: true, force: true });
  if (farm !== undefined) expect(statuses).toEqual([0, 0, 0, 0]);
});

async function play(round: NetworkRound, there: NetworkFarm): Promise<void> {
  const services = connect(there);
  const over = new AbortController();
  const leaving = new AbortController();
  const names: string[] = [];
  const input = `${round.nonce} `.repeat(10_000);
  const sha256 = createHash("sha256").update(input).digest("hex");
  try {
    const tar = await tarOf({ "millrace.yaml": networkPipeline(round, sha256), input });
    const { run } = await services.runs.submitRunArchive(archive(tar));
    const striking = strikeAll(round.strikes, { farm: there, disks }, over.signal);
    const followed = followRun(services, { run, signal: leaving.signal, names });
    // What cannot be healed is why a run does not end, and is told instead.
    const events = await Promise.race([followed.events, striking.then(() => followed.events)]);
    over.abort();
    await striking;
    await followed.log;
    const wait = { timeout: 30_000, interval: 100 };
    await vi.waitFor(() => checkNothingLeft(round, there, services), wait);
    const stored = await readLogs(services, { run, follow: false, signal: leaving.signal });
    checkNetworkRun(round, { run, events, stored, starts: processStarts(there, run) });
  } catch (error) {
    const said = [there.coordinator(), ...there.agents.map(({ program }) => program())].map((one) => one.said());
    process.stderr.write(`network chaos: round ${round.number}, ${JSON.stringify(round.strikes)}\n`);
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.stderr.write(`after ${names.length} events: ${names.slice(-20).join(", ")}\n${said.join("\n---\n")}`);
    throw error;
  } finally {
    over.abort();
    leaving.abort();
    services.close();
  }
}

describe(`a farm of three machines whose network is harmed, seed ${seed}`, () => {
  const planned = Array.from({ length: rounds }, (_, index) => planNetworkRound(seed, first + index, agents));
  it.for(planned.map((round) => ({ ...round, harms: round.strikes.map(({ harm }) => harm).join(", ") })))(
    "round $number: $harms",
    { timeout: roundTimeoutMs },
    async (round, { skip }) => await play(round, farm ?? skip(noNetwork)),
  );
});

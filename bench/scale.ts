import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectNatsBus } from "../shared/bus/nats-bus.ts";
import { coordinatorFlags } from "../shared/process-shape.ts";
import { type Figure, type Measured, must, quantile } from "./bench.ts";
import { killed, startNats } from "./nats.ts";
import { decisionCostsUs } from "./scale/decisions.ts";
import type { FarmAnswer, FarmProcessOptions, FarmQuestion } from "./scale/messages.ts";
import { type Swarm, type SwarmAgent, swarm } from "./scale/swarm.ts";

const idleAgents = 5_000;
const queued = 100_000;
/** Those that the queue waits for, all busy. */
const busyAgents = 100;
const connections = 20;
const samples = 500;
const idleMs = 20_000;

/**
 * What many agents and a long queue cost: the coordinator's half that agents see (bus, registry, scheduler and their
 * database), as a process of its own on a real nats-server, and agents that only speak. An empty farm of the same kind,
 * two agents and no queue, is measured before it in the same call.
 */
export async function scale(): Promise<Measured> {
  const empty = await withStage(async (stage) => {
    await stage.join([agents("small", 2)], {});
    return await dispatches(stage, "small");
  });
  const large = await withStage(measureLarge);
  const [small, wide] = [
    decisionCostsUs({ agents: 50, queued: 1_000, groups: 10 }),
    decisionCostsUs({ agents: idleAgents, queued, groups: 1_000 }),
  ];
  const p99 = (times: readonly number[]): number => quantile(times, 0.99);
  const beats = ({ beatsPerS }: { beatsPerS: number }): string => `of one core; ${Math.round(beatsPerS)} heartbeats/s`;
  const few = `${busyAgents} of the agents`;
  return {
    figures: [
      figure("coordinator's processor, agents idle", "%", [large.idle.cpuPercent], "<= 10", beats(large.idle)),
      figure("coordinator's memory, agents idle", "MB", [large.idleMb], "<= 600"),
      figure("the same with the queue", "MB", [large.queuedMb], "<= 600", "resident, at the end"),
      figure("coordinator's processor with the queue", "%", [large.loaded.cpuPercent], "<= 10", beats(large.loaded)),
      figure(`${queued} submitted`, "tasks/s", [large.submitsPerS], ""),
      figure("longest stall of the loop meanwhile", "ms", [large.submitStallMs], "<= 100"),
      figure("submit to the agent, empty farm, p50", "ms", [quantile(empty, 0.5)], ""),
      figure("submit to the agent, empty farm, p99", "ms", [p99(empty)], ""),
      figure("submit to an idle agent beside the queue, p50", "ms", [quantile(large.dispatched, 0.5)], ""),
      figure("submit to an idle agent beside the queue, p99", "ms", [p99(large.dispatched)], ""),
      figure("its p99 over the empty farm's", "times", [p99(large.dispatched) / p99(empty)], "<= 3"),
      figure("report to the next of the queue, p99", "ms", [p99(large.turns)], "", `on ${few}`),
      figure("a decision: 50 agents, 1,000 queued", "us", small, ""),
      figure(`a decision: ${idleAgents} agents, ${queued} queued`, "us", wide, ""),
      figure(
        "growth of a decision's cost",
        "times",
        [quantile(wide, 0.5) / quantile(small, 0.5)],
        "<= 4",
        "100 times the agents, the runs and the queue; of the medians",
      ),
    ],
  };
}

function figure(name: string, unit: string, taken: readonly number[], target: string, note?: string): Figure {
  return { name, unit, samples: taken, target, ...(note === undefined ? {} : { note }) };
}

async function measureLarge(stage: Stage) {
  const queue = agents("queue", busyAgents);
  await stage.join([agents("idle", idleAgents - busyAgents), queue], { queue: { pool: "queue" } });
  const idle = await idling(stage);
  const idleMb = residentMb(stage.pid);
  await stage.ask({ kind: "stats" });
  const labels = { pool: "queue" };
  const submitted = await stage.ask({
    kind: "submit",
    prefix: "many",
    count: queued + busyAgents,
    groups: 1_000,
    labels,
  });
  const full = await stage.ask({ kind: "stats" });
  must(full.queued === queued, `${full.queued} are queued and not ${queued}`);
  must(full.running === busyAgents, `${full.running} run on ${busyAgents} agents`);
  const loaded = await idling(stage);
  const dispatched = await dispatches(stage, "idle");
  const turns: number[] = [];
  for (let turn = 0; turn < samples; turn += 1) {
    const next = stage.swarm.nextArrival();
    const sentAtMs = await stage.swarm.finishOne();
    turns.push((await next) - sentAtMs);
  }
  const end = await stage.ask({ kind: "stats" });
  must(end.online === idleAgents, `${end.online} of ${idleAgents} agents are there`);
  const submitsPerS = ((queued + busyAgents) * 1000) / submitted.tookMs;
  return {
    ...{ idle, idleMb, loaded, dispatched, turns, submitsPerS },
    submitStallMs: submitted.stallMs,
    queuedMb: residentMb(stage.pid),
  };
}

/** From the call of `submit` to the assignment's arrival, one at a time. */
async function dispatches(stage: Stage, pool: string): Promise<number[]> {
  const times: number[] = [];
  for (let index = 0; index < samples + 50; index += 1) {
    const id = `one.${pool}.${index}`;
    const arrival = stage.swarm.arrival(id);
    const { askedAtMs } = await stage.ask({ kind: "submit one", id, labels: { pool } });
    const tookMs = (await arrival) - askedAtMs;
    if (index >= 50) times.push(tookMs); // the first warm up
    await stage.swarm.finish(id);
  }
  return times;
}

interface Pool {
  readonly pool: string;
  readonly agents: readonly SwarmAgent[];
}

function agents(pool: string, count: number): Pool {
  return { pool, agents: Array.from({ length: count }, (_, index) => ({ id: `${pool}-${index}`, session: "bench" })) };
}

/** A farm under measurement, its bus and its agents. */
interface Stage {
  readonly pid: number;
  readonly swarm: Swarm;
  ask(question: FarmQuestion): Promise<FarmAnswer>;
  /** Resolves when all were heard. Once only. */
  join(pools: readonly Pool[], labels: Readonly<Record<string, Readonly<Record<string, string>>>>): Promise<void>;
}

async function withStage<T>(use: (stage: Stage) => Promise<T>): Promise<T> {
  await using closing = new AsyncDisposableStack();
  const folder = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  closing.defer(() => rmSync(folder, { recursive: true, force: true }));
  const nats = await startNats(folder);
  closing.defer(() => nats.stop());
  const { url, user, password } = nats;
  const options: FarmProcessOptions = { nats: { url, user, password }, folder };
  const farm = fork(join(import.meta.dirname, "scale/farm-process.ts"), [JSON.stringify(options)], {
    execArgv: [...coordinatorFlags],
  });
  closing.defer(() => killed(farm));
  await once(farm, "message");
  const buses = await Promise.all(
    Array.from({ length: connections }, (_, index) =>
      connectNatsBus({
        ...{ servers: [nats.url], user: nats.user, password: nats.password, name: `swarm ${index}` },
        onError: (error) => process.stderr.write(`swarm: ${error.message}\n`),
      }),
    ),
  );
  closing.defer(async () => void (await Promise.all(buses.map((bus) => bus.close()))));
  const ask = async (question: FarmQuestion): Promise<FarmAnswer> => {
    const answered = once(farm, "message");
    farm.send(question);
    const [answer] = (await answered) as [FarmAnswer];
    return answer;
  };
  let present: Swarm | undefined;
  closing.defer(() => present?.close());
  return await use({
    pid: farm.pid ?? 0,
    get swarm() {
      if (present === undefined) throw new Error("nobody has joined yet");
      return present;
    },
    ask,
    async join(pools) {
      const all = pools.flatMap(({ pool, agents: members }) =>
        members.map((agent) => ({ ...agent, slots: 1, labels: { pool } })),
      );
      await ask({ kind: "join", agents: all });
      present = await swarm(buses, all);
      for (let online = 0; online < all.length; ) {
        ({ online } = await ask({ kind: "stats" }));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
  });
}

/** What the farm takes of one core, all its threads together, while agents do nothing but beat; and how often they did. */
async function idling({ pid, ask }: Stage): Promise<{ cpuPercent: number; beatsPerS: number }> {
  const { heartbeats: heartbeatsBefore } = await ask({ kind: "stats" });
  const start = performance.now();
  const before = cpuMs(pid);
  await new Promise((resolve) => setTimeout(resolve, idleMs));
  const tookMs = performance.now() - start;
  const cpuPercent = (100 * (cpuMs(pid) - before)) / tookMs;
  const { heartbeats } = await ask({ kind: "stats" });
  return { cpuPercent, beatsPerS: ((heartbeats - heartbeatsBefore) * 1000) / tookMs };
}

function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10; // ticks of a hundredth of a second, on every Linux
}

function residentMb(pid: number): number {
  const [, kib] = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return (Number(kib) * 1024) / 1e6;
}

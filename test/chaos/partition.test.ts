import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { noNetwork } from "../support/network.ts";
import { type FarmAgent, type NetworkFarm, startNetworkFarm } from "../support/network-farm.ts";
import { processesAbout } from "../support/process-state.ts";
import { submitText } from "../support/runs.ts";
import { type AttemptLog, connect, followRun } from "./follow.ts";

/*
 * What happens between machines when the network between them does not do what it should. Three machines: the coordinator
 * with its nats-server, and two agents behind proxies. The lease is 3 s, so heartbeats come every 600 ms.
 */
const leaseS = 3;
const patience = { timeout: 30_000, interval: 20 };

const whole = (lines: number) => Array.from({ length: lines }, (_, index) => `${index + 1}\n`).join("");

/** Prints its numbers at 20 lines a second, then leaves a stamp that is unlike in each attempt. */
function counting(lines: number, more = ""): string {
  const run = `i=0; while [ $i -lt ${lines} ]; do i=$((i+1)); echo $i; sleep 0.05; done; date +%s%N > stamp`;
  return `name: lonely
stages: { work: { tasks: { count: { run: "${run}", outputs: { stamp: stamp }, cache: false${more} } } } }
`;
}

/** 4 MB from one machine to the other by way of the coordinator, and 1.6 MB of output beside it. */
const carrying = `name: carrying
stages:
  work:
    tasks:
      count:
        agents: { machine: "1" }
        run: "head -c 4000000 /dev/urandom > big; sha256sum big > sum; yes 0123456789abcde | head -c 1600000"
        outputs: { big: big, sum: sum }
        cache: false
      check:
        agents: { machine: "2" }
        run: sha256sum -c sum
        use: [big, sum]
        cache: false
`;

let farm: NetworkFarm | undefined;

beforeAll(async () => {
  farm = await startNetworkFarm({
    agents: 2,
    slots: 1,
    leaseS,
    proxies: true,
    args: (number) => ["--label", `machine=${number}`],
  });
  if (farm === undefined) process.stderr.write(`${import.meta.filename}: ${noNetwork}\n`);
});
afterAll(async () => {
  expect(await farm?.remove()).toEqual(farm === undefined ? undefined : [0, 0, 0]);
});

/** A task that runs on one of the agents, and what is known of it. */
interface Running {
  readonly farm: NetworkFarm;
  readonly run: string;
  readonly names: readonly string[];
  /** The agent that has it, and the other. */
  readonly agent: FarmAgent;
  readonly other: FarmAgent;
  /** Resolves when its first attempt has printed so many lines on its agent's disk. */
  printed(lines: number): Promise<void>;
  until(event: string): Promise<void>;
  /** Resolves with the logs when the run has ended and all logs have. */
  end(): Promise<Map<string, AttemptLog>>;
}

async function start(text: string, { skip }: { skip: (why: string) => never }): Promise<Running> {
  const there = farm ?? skip(noNetwork);
  const services = connect(there);
  const leaving = new AbortController();
  onTestFinished(() => {
    leaving.abort();
    services.close();
  });
  const run = await submitText(services, text);
  const names: string[] = [];
  const followed = followRun(services, { run, signal: leaving.signal, names });
  const until = (event: string) => vi.waitFor(() => expect(names).toContain(event), patience);
  await until("taskStarted count #1");
  const spools = there.agents.map(({ data }) => join(data, "spool", `${run}.work.count.1`));
  const sizeOf = (path: string) => statSync(path, { throwIfNoEntry: false })?.size ?? -1;
  const index = await vi.waitFor(() => {
    const found = spools.findIndex((path) => sizeOf(path) >= 0);
    expect(found).toBeGreaterThanOrEqual(0);
    return found;
  }, patience);
  const [agent, other] = [there.agents[index], there.agents[1 - index]];
  if (agent === undefined || other === undefined) throw new Error("no agent");
  return {
    ...{ farm: there, run, names, agent, other, until },
    printed: (lines) =>
      vi.waitFor(() => expect(sizeOf(spools[index] ?? "")).toBeGreaterThanOrEqual(whole(lines).length), patience),
    async end() {
      await followed.events;
      return await followed.log;
    },
  };
}

/** The second attempt counts, the first is refused; its log is complete, or says that it may not be. */
async function expectSecondCounts(running: Running, lines: number): Promise<void> {
  const { names, agent, run } = running;
  const logs = await running.end();
  expect(names.filter((name) => name.startsWith("taskFinished"))).toEqual(["taskFinished count"]);
  expect(names).toContain("taskStarted count #2");
  expect(names).not.toContain("taskStarted count #3");
  expect(logs.get("work/count#2")).toEqual({ text: whole(lines), ends: 1, gap: false });
  const first = logs.get("work/count#1") ?? { text: "-", ends: 0, gap: false };
  expect(whole(lines).startsWith(first.text)).toBe(true);
  expect(first).toMatchObject({ ends: 1, gap: first.gap || first.text !== whole(lines) });
  const late = `the report on ${run}.work.count, attempt 1, came too late`;
  await vi.waitFor(() => expect(agent.program().said()).toContain(late), patience);
}

describe("between machines", () => {
  it("a cut that is longer than the lease moves the work; the late result is refused", async (context) => {
    const running = await start(counting(60), context);
    await running.printed(10);
    running.agent.host.link(false);
    await running.until("taskStarted count #2");
    running.agent.host.link(true);
    await expectSecondCounts(running, 60);
  });

  it("an agent that is stopped for longer than its lease is refused when it goes on", async (context) => {
    const running = await start(counting(60), context);
    await running.printed(10);
    process.kill(running.agent.program().pid, "SIGSTOP");
    await running.until("taskStarted count #2");
    process.kill(running.agent.program().pid, "SIGCONT");
    await expectSecondCounts(running, 60);
  });

  it("a cut that is shorter than the lease moves nothing", async (context) => {
    const running = await start(counting(60), context);
    await running.printed(10);
    running.agent.host.link(false);
    await running.printed(30);
    running.agent.host.link(true);
    const logs = await running.end();
    expect([...logs]).toEqual([["work/count#1", { text: whole(60), ends: 1, gap: false }]]);
    expect(running.names).not.toContain("taskWaiting count cause 5");
  });

  it("an agent that the bus cannot reach finds out by itself, and its log comes all the while", async (context) => {
    const running = await start(counting(60), context);
    await running.printed(10);
    await running.agent.nats?.set({ isSwallowing: true });
    await running.until("taskStarted count #2");
    await running.agent.nats?.set({}); // for new connections: the present one is dead, and nobody says so
    await expectSecondCounts(running, 60);
  });

  it("without gRPC a task goes on, and what it made waits on its machine", async (context) => {
    const running = await start(counting(100), context);
    await running.printed(10);
    await running.agent.grpc?.set({ isRefusing: true });
    await running.agent.grpc?.reset();
    await running.printed(100); // longer than the lease
    await running.agent.grpc?.set({});
    const logs = await running.end();
    expect([...logs]).toEqual([["work/count#1", { text: whole(100), ends: 1, gap: false }]]);
    expect(running.names.filter((name) => name.startsWith("taskFinished"))).toEqual(["taskFinished count"]);
  });

  it("a cut-off agent ends by itself what must not run twice, and it runs nowhere else", async (context) => {
    const nonce = `once-${process.pid}`;
    const running = await start(counting(2_000, ", idempotent: false").replace("i=0;", `: ${nonce}; i=0;`), context);
    await running.printed(10);
    running.agent.host.link(false);
    await vi.waitFor(() => expect(processesAbout(nonce)).toEqual([]), patience);
    await running.until("taskWaiting count cause 5");
    running.agent.host.link(true);
    const logs = await running.end();
    expect(running.names.filter((name) => /Started|Finished/.test(name))).toEqual([
      "taskStarted count #1",
      "taskStarted count #1", // the agent is back
      "taskFinished count with status 5",
      "runFinished",
    ]);
    expect(logs.get("work/count#1")).toMatchObject({ ends: 1, gap: false });
    const shown = await running.farm.cli("show", running.run, "--json");
    expect(shown.stdout).toMatch(/lost its agent: the agent had no word of the farm for 3.* s, and what is not idempotent/);
  });

  it("a slow link carries blobs and logs without starving heartbeats", async (context) => {
    const there = farm ?? context.skip(noNetwork);
    const machines = there.agents.map(({ host }) => host);
    for (const host of machines) host.throttle(1024 * 1024);
    onTestFinished(() => {
      for (const host of machines) host.throttle(undefined);
    });
    const running = await start(carrying, context);
    const logs = await running.end();
    expect(running.names.filter((name) => /cause 5|#2|Finished/.test(name))).toEqual([
      "taskFinished count",
      "taskFinished check",
      "runFinished",
    ]);
    expect(logs.get("work/count#1")).toEqual({ text: "0123456789abcde\n".repeat(100_000), ends: 1, gap: false });
  });
});

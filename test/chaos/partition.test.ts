import { statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, type TestContext, vi } from "vitest";
import { limits } from "../../shared/limits.ts";
import { noNetwork } from "../support/network.ts";
import { type NetworkFarm, startNetworkFarm } from "../support/network-farm.ts";
import { processesAbout } from "../support/process-state.ts";
import { counting, expectSecondCounts, patience, startCount, whole } from "./counting.ts";

/*
 * What happens between machines when the network between them does not do what it should. Three machines: the coordinator
 * with its nats-server, and two agents behind proxies. The lease is 3 s, so heartbeats come every 600 ms.
 */
const leaseS = 3;

/** 2 MB from one machine to the other by way of the coordinator, and 0.8 MB of output beside it. */
const carrying = `name: carrying
stages:
  work:
    tasks:
      count:
        agents: { machine: "1" }
        run: "head -c 2000000 /dev/urandom > big; sha256sum big > sum; yes 0123456789abcde | head -c 800000"
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
  farm = await startNetworkFarm({ agents: 2, leaseS, proxies: true, spoolBytes: limits.spoolBytesMin });
  if (farm === undefined) process.stderr.write(`${import.meta.filename}: ${noNetwork}\n`);
});
afterAll(async () => {
  expect(await farm?.remove()).toEqual(farm === undefined ? undefined : [0, 0, 0]);
});

/** Where nobody but root may make networks, and we are not root, there are no machines to test between. */
const network = ({ skip }: TestContext): NetworkFarm => farm ?? skip(noNetwork);
const start = (text: string, context: TestContext) => startCount(network(context), text);

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
    const running = await start(counting(80), context);
    await running.printed(10);
    await running.agent.grpc?.set({ isRefusing: true });
    await running.agent.grpc?.reset();
    await running.printed(80); // longer than the lease
    await running.agent.grpc?.set({});
    const logs = await running.end();
    expect([...logs]).toEqual([["work/count#1", { text: whole(80), ends: 1, gap: false }]]);
    expect(running.names.filter((name) => name.startsWith("taskFinished"))).toEqual(["taskFinished count"]);
  });

  it("a task that prints too much for a coordinator that is away ends with the cause, and its output arrives", async (context) => {
    const running = await start(counting(200).replace("do i=", "do head -c 20000 /dev/zero; i="), context);
    await running.printed(10);
    await running.agent.grpc?.set({ isRefusing: true });
    await running.agent.grpc?.reset();
    const spool = join(running.agent.data, "spool", `${running.run}.work.count.1`);
    await vi.waitFor(() => expect(processesAbout("i -lt 200 ]")).toEqual([]), patience);
    const { size } = statSync(spool);
    await running.agent.grpc?.set({});
    await running.until("taskWaiting count cause 5");
    await farm?.cli("cancel", running.run);
    const logs = await running.end();
    expect(logs.get("work/count#1")).toMatchObject({ ends: 1, gap: false });
    expect(logs.get("work/count#1")?.text.length).toBe(size);
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
    const shown = await farm?.cli("show", running.run, "--json");
    expect(shown?.stdout).toMatch(
      /lost its agent: the agent had no word of the farm for 3.* s, and what is not idempotent/,
    );
  });

  it("a slow link carries blobs and logs without starving heartbeats", async (context) => {
    const there = network(context);
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
    expect(logs.get("work/count#1")).toEqual({ text: "0123456789abcde\n".repeat(50_000), ends: 1, gap: false });
  });
});

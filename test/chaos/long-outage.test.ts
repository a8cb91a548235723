import { expect, it, onTestFinished, vi } from "vitest";
import { systemClock } from "../../shared/clock.ts";
import { limits } from "../../shared/limits.ts";
import { isLong } from "../support/long.ts";
import { noNetwork } from "../support/network.ts";
import { type NetworkFarm, type NetworkFarmOptions, startNetworkFarm } from "../support/network-farm.ts";
import { counting, expectSecondCounts, patience, startCount, whole } from "./counting.ts";

/*
 * The same with the times and sizes of the product: too long for every test run.
 */
const timeoutMs = 300_000;

async function start(options: NetworkFarmOptions, skip: (why: string) => never): Promise<NetworkFarm> {
  if (!isLong) skip("runs with `npm run test:chaos`");
  const farm = (await startNetworkFarm(options)) ?? skip(noNetwork);
  onTestFinished(async () => {
    await farm.remove();
  });
  return farm;
}

/** Resolves when the time has passed: of an outage that is to be as long as it is. */
const passed = (ms: number) => new Promise<void>((resolve) => void systemClock.after(ms, resolve));

it(
  "a link that is down for 20 s in mid-task costs one attempt",
  async ({ skip }) => {
    const farm = await start({ agents: 2 }, skip);
    const running = await startCount(farm, counting(700));
    await running.printed(10);
    running.agent.host.link(false);
    await passed(20_000);
    expect(running.names).toContain("taskStarted count #2");
    running.agent.host.link(true);
    await expectSecondCounts(running, 700);
  },
  timeoutMs,
);

it(
  "a gRPC connection that died without a word is found out, and the log goes on where it stood",
  async ({ skip }) => {
    const farm = await start({ agents: 1, proxies: true }, skip);
    const running = await startCount(farm, counting(200));
    await running.printed(10);
    await running.agent.grpc?.set({ isSwallowing: true });
    const sinceMs = performance.now();
    await running.agent.grpc?.set({}); // for new connections alone
    await vi.waitFor(() => expect(running.agent.program().said()).toContain("sending logs"), patience);
    expect(performance.now() - sinceMs).toBeLessThan(limits.grpcPingMs + limits.grpcPingTimeoutMs + 5_000);
    expect([...(await running.end())]).toEqual([["work/count#1", { text: whole(200), ends: 1, gap: false }]]);
  },
  timeoutMs,
);

it(
  "a blob larger than all windows comes over a link of 300 KiB/s",
  async ({ skip }) => {
    const farm = await start({ agents: 2 }, skip);
    farm.agents[1]?.host.throttle(300 * 1024);
    const running = await startCount(
      farm,
      `name: carrying
stages:
  work:
    tasks:
      count:
        agents: { machine: "1" }
        run: "head -c 16000000 /dev/urandom > big; sha256sum big > sum"
        outputs: { big: big, sum: sum }
        cache: false
      check: { agents: { machine: "2" }, run: sha256sum -c sum, use: [big, sum], cache: false }
`,
    );
    await running.end();
    expect(running.names.filter((name) => /cause 5|#2|Finished/.test(name))).toEqual([
      "taskFinished count",
      "taskFinished check",
      "runFinished",
    ]);
    expect(farm.agents[1]?.program().said()).not.toContain("Connection dropped");
  },
  timeoutMs,
);

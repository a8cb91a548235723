import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { PoolSettings } from "../../../../../coordinator/farm/pools/pools.ts";
import { AgentState } from "../../../../../proto/gen/millrace/v1/agent_pb.ts";
import { AssignSchema, ReportOutcome } from "../../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { WaitCause } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../../shared/bus/in-process-bus.ts";
import { from } from "../../../../../shared/errors.ts";
import { limits } from "../../../../../shared/limits.ts";
import { recordingProvider, startPoolFarm } from "../../../../support/pool-farm.ts";
import { execution } from "../../../../support/scheduler-farm.ts";
import { tempDir } from "../../../../support/temp-dir.ts";

const linux: PoolSettings = {
  ...{ name: "linux", min: 0, max: 4, slots: 1, labels: { os: "linux" }, ephemeral: false },
  ...{ targetWaitMs: 60_000, idleTimeoutMs: 5_000, joinTimeoutMs: 20_000, provider: { kind: "local-process" } },
};
const onLinux = { labels: { os: "linux" } };

const codeOf = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (error: unknown) => from(error).code,
  );

test("what only agents of a pool would satisfy waits for the pool, says so with numbers, and brings one", async () => {
  const { provider, orders } = recordingProvider();
  const { farm, pools, until } = await startPoolFarm(provider);
  await farm.scheduler.submit(execution("early", onLinux));
  expect(await farm.next("early", "waiting")).toMatchObject({ cause: WaitCause.NO_AGENT_MATCHES });
  await pools.set(linux);
  expect(await farm.next("early", "waiting")).toMatchObject({
    cause: WaitCause.POOL_SCALING,
    detail: "the pool linux is scaling: 0 agents take work, 0 are starting, 0 are wanted, at most 4",
  });
  await until(() => orders.length > 0);
  expect(orders).toEqual([
    {
      ...{ pool: "linux", coordinator: "127.0.0.1:1", slots: 1, ephemeral: false, labels: { os: "linux" } },
      agents: [{ id: "linux-00000000", token: "token" }],
    },
  ]);
  const agent = await farm.agent({ id: "linux-00000000", labels: { os: "linux", pool: "linux" } });
  expect((await agent.nextAssign()).executionId).toBe("early");
  await farm.scheduler.submit(execution("late", onLinux));
  expect(await farm.next("late", "waiting")).toMatchObject({ cause: WaitCause.AGENTS_BUSY });
  expect(farm.scheduler.view.placesOf(["late"]).get("late")).toMatchObject({ position: 1, pools: ["linux"] });
  await farm.scheduler.submit(execution("other", { labels: { os: "mac" } }));
  expect(await farm.next("other", "waiting")).toMatchObject({ cause: WaitCause.NO_AGENT_MATCHES });
});

test("an agent that is not needed drains, is given nothing more, ends what it has, and is removed and forgotten", async () => {
  const { provider, calls } = recordingProvider();
  const { farm, pools, until, untilMs, table } = await startPoolFarm(provider);
  await pools.set({ ...linux, min: 1 });
  await until(() => calls.includes("add linux-00000000"));
  const agent = await farm.agent({ id: "linux-00000000", labels: linux.labels });
  await farm.scheduler.submit(execution("x", onLinux));
  const x = await agent.nextAssign();
  await until(() => pools.list()[0]?.ready === 1);
  await pools.scale("linux", { min: 0, max: 0 });
  await until(() => pools.list()[0]?.leaving === 1);
  expect(pools.isLeaving("linux-00000000")).toBe(true);
  agent.heartbeat();
  await until(() => farm.agents.list()[0]?.state === AgentState.DRAINING);
  await farm.scheduler.submit(execution("y", onLinux));
  expect(await farm.next("y", "waiting")).toMatchObject({ cause: WaitCause.AGENT_DRAINING });
  agent.heartbeat();
  await untilMs(4_000);
  expect(calls.filter((call) => call.startsWith("remove"))).toEqual([]);

  expect(await agent.report(x)).toBe(ReportOutcome.ACCEPTED);
  await until(() => calls.includes("remove linux-00000000"));
  expect(farm.agents.list()).toHaveLength(1); // it is heard until it says goodbye
  agent.goodbye();
  await until(() => farm.agents.list().length === 0);
  expect(await table.load()).toMatchObject([{ members: [] }]);
  expect((await farm.next("x", "finished")).outcome).toMatchObject({ attempt: 1 });
});

test("an agent whose answer to an assignment was lost is not taken away as idle before it says that it is", async () => {
  const { provider, calls } = recordingProvider();
  const { farm, pools, until, untilMs } = await startPoolFarm(provider);
  await pools.set({ ...linux, min: 1 });
  await until(() => calls.includes("add linux-00000000"));
  const agent = await farm.agent({ id: "linux-00000000", labels: linux.labels });
  agent.answer = "silence";
  await farm.scheduler.submit(execution("x", onLinux));
  await until(() => farm.scheduler.stats().queued === 1);
  farm.scheduler.cancel("x", "not wanted");
  expect(farm.scheduler.stats().strays.get("linux-00000000")).toEqual(["x"]);
  await pools.scale("linux", { min: 0, max: 0 });
  await until(() => pools.list()[0]?.leaving === 1);
  await untilMs(2_000);
  const named = create(AssignSchema, { executionId: "x", epoch: { term: 1n, number: 1n } });
  agent.heartbeat([named]); // it does have it
  expect((await agent.nextCancel()).executionId).toBe("x");
  await untilMs(2_000);
  expect(calls.filter((call) => call.startsWith("remove"))).toEqual([]);
  agent.heartbeat([]);
  await until(() => calls.includes("remove linux-00000000"));
});

test("an agent that is wanted again while it still ends something takes work again", async () => {
  const { provider, calls } = recordingProvider();
  const { farm, pools, until } = await startPoolFarm(provider);
  await pools.set({ ...linux, min: 1 });
  await until(() => calls.includes("add linux-00000000"));
  const agent = await farm.agent({ id: "linux-00000000", slots: 2, labels: linux.labels });
  await farm.scheduler.submit(execution("x", onLinux));
  await agent.nextAssign();
  await pools.scale("linux", { min: 0, max: 0 });
  await until(() => farm.agents.list()[0]?.state === AgentState.DRAINING);
  await pools.scale("linux", { min: 1, max: 1 });
  await until(() => {
    agent.heartbeat();
    return farm.agents.list()[0]?.state === AgentState.ONLINE;
  });
  await farm.scheduler.submit(execution("y", onLinux));
  expect((await agent.nextAssign()).executionId).toBe("y");
  expect(calls.filter((call) => call !== "list")).toEqual(["add linux-00000000"]);
});

test("a provider that fails is asked again after doubling pauses, with the same agents, and says why in the list", async () => {
  const { provider, calls, failWith } = recordingProvider();
  const { pools, until, untilMs } = await startPoolFarm(provider);
  failWith("quota of 8 reached");
  await pools.set({ ...linux, min: 1 });
  await untilMs(60_000);
  // 1, 2, 4, 8, 16 and 32 s apart: a busy loop would have asked a thousand times.
  expect(calls).toEqual(Array.from({ length: 6 }, () => "list"));
  expect(pools.list()[0]?.trouble).toMatchObject({ message: "quota of 8 reached", failures: 6 });
  failWith(undefined);
  await until(() => calls.includes("add linux-00000000"));
  await until(() => pools.list()[0]?.trouble === undefined);
});

test("an agent that never joins is given up and replaced, less and less often", async () => {
  const { provider, calls, running } = recordingProvider();
  const { pools, untilMs, table } = await startPoolFarm(provider);
  await pools.set({ ...linux, min: 1, joinTimeoutMs: 5_000 });
  await untilMs(120_000);
  const added = calls.filter((call) => call.startsWith("add"));
  expect(added.length).toBeGreaterThan(2);
  expect(added.length).toBeLessThan(10);
  expect(new Set(added).size).toBe(added.length);
  expect(running.size).toBeLessThanOrEqual(1);
  expect(pools.list()[0]?.trouble?.message).toMatch(/^linux-0000000\d did not join within 5 s$/);
  expect((await table.load())[0]?.members.length).toBeLessThanOrEqual(1);
});

test("an ephemeral agent gets one execution and no other, and is forgotten as soon as it leaves or is lost", async () => {
  const { provider } = recordingProvider();
  const { farm } = await startPoolFarm(provider);
  const once = await farm.agent({ id: "once", ephemeral: true });
  await farm.scheduler.submit(execution("x"));
  await farm.scheduler.submit(execution("y"));
  const x = await once.nextAssign();
  expect(await once.report(x)).toBe(ReportOutcome.ACCEPTED);
  once.heartbeat();
  await farm.next("x", "finished");
  expect(farm.scheduler.stats()).toMatchObject({ queued: 1, running: 0 });
  once.goodbye();
  const lost = await farm.agent({ id: "lost", ephemeral: true });
  expect((await lost.nextAssign()).executionId).toBe("y");
  expect(farm.agents.list().map(({ info }) => info.id)).toEqual(["lost"]);
  farm.clock.advance(limits.leaseMs + 2 * limits.heartbeatIntervalMs);
  await farm.written();
  await farm.written();
  expect(farm.agents.list()).toEqual([]);
  const next = await farm.agent({ id: "next" });
  expect(await next.nextAssign()).toMatchObject({ executionId: "y", attempt: 2 });
});

test("an ephemeral agent that refused its execution may still have another one", async () => {
  const { provider } = recordingProvider();
  const { farm } = await startPoolFarm(provider);
  const once = await farm.agent({ id: "once", ephemeral: true });
  once.answer = "refuse";
  await farm.scheduler.submit(execution("x"));
  await farm.written();
  once.answer = "accept";
  once.heartbeat();
  expect((await once.nextAssign()).executionId).toBe("x");
});

test("a restart knows its members again, adds none twice and finds what nobody remembers", async () => {
  const [dir, broker] = [tempDir(), inProcessBus()];
  const { provider, calls, running } = recordingProvider();
  const first = await startPoolFarm(provider, { dir, broker });
  await first.pools.set({ ...linux, min: 1 });
  await first.until(() => calls.includes("add linux-00000000"));
  const agent = await first.farm.agent({ id: "linux-00000000", labels: linux.labels });
  await first.until(() => first.pools.list()[0]?.ready === 1);
  await first.farm.stop();

  calls.splice(0);
  running.add("linux-0badcafe"); // its row is gone, as after a restore of the database
  const second = await startPoolFarm(provider, { dir, broker });
  agent.heartbeat();
  await second.until(() => calls.includes("remove linux-0badcafe"));
  agent.heartbeat();
  await second.until(() => second.pools.list()[0]?.leaving === 0);
  expect(second.pools.list()).toMatchObject([{ settings: { ...linux, min: 1 }, ready: 1, starting: 0 }]);
  expect(calls.filter((call) => call !== "list")).toEqual(["remove linux-0badcafe"]);
  expect([...running]).toEqual(["linux-00000000"]);
});

test("pools that only their agents name are static, and refuse what only a provider could do", async () => {
  const { provider, running } = recordingProvider();
  const { farm, pools, until } = await startPoolFarm(provider);
  await farm.agent({ id: "a", labels: { pool: "by-hand" } });
  expect(pools.list()).toMatchObject([{ settings: { name: "by-hand", provider: { kind: "static" } }, ready: 1 }]);
  expect(await codeOf(pools.scale("by-hand", { min: 0, max: 3 }))).toBe("not_found");
  expect(await codeOf(pools.remove("nowhere"))).toBe("not_found");
  await pools.set({ ...linux, name: "by-hand", provider: { kind: "static" } });
  expect(await codeOf(pools.scale("by-hand", { min: 0, max: 3 }))).toBe("failed_precondition");
  await pools.set({ ...linux, min: 1 });
  await until(() => running.size === 1);
  expect(await codeOf(pools.set({ ...linux, provider: { kind: "static" } }))).toBe("failed_precondition");
  await pools.remove("linux");
  expect(await codeOf(pools.set(linux))).toBe("failed_precondition");
  await until(() => pools.list().length === 1);
  expect([...running]).toEqual([]);
});

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { HostOperationSchema, ReportOutcome } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, WaitCause } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { digestOf } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

test("an agent that drains finishes what it holds and gets nothing more; what waits for it says so until it is resumed", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a", slots: 2, labels: { os: "linux" } });
  await farm.scheduler.submit(execution("held", { labels: { os: "linux" } }));
  const held = await agent.nextAssign();
  await farm.agents.drain("a", true);
  await farm.scheduler.submit(execution("next", { labels: { os: "linux" } }));
  expect(await farm.next("next", "waiting")).toMatchObject({
    cause: WaitCause.AGENT_DRAINING,
    detail: "every agent that offers os=linux is draining: a",
  });
  agent.heartbeat();
  expect(await agent.report(held)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("held", "finished")).outcome).toMatchObject({ attempt: 1, agent: "a" });
  expect(farm.scheduler.stats()).toMatchObject({ queued: 1, running: 0 });
  await farm.agents.drain("a", false);
  agent.heartbeat();
  expect((await agent.nextAssign()).executionId).toBe("next");
});

test("work goes to the agents that do not drain, and waits for those as long as there is one", async () => {
  const farm = await startSchedulerFarm();
  const draining = await farm.agent({ id: "a", slots: 8 });
  const other = await farm.agent({ id: "b" });
  await farm.agents.drain("a", true);
  draining.heartbeat();
  await farm.scheduler.submit(execution("x"));
  await farm.scheduler.submit(execution("y"));
  const x = await other.nextAssign();
  expect(await farm.next("y", "waiting")).toMatchObject({ cause: WaitCause.AGENTS_BUSY });
  await farm.agents.drain("b", true);
  other.heartbeat();
  expect(await farm.next("y", "waiting")).toMatchObject({ cause: WaitCause.AGENT_DRAINING });
  expect(await other.report(x)).toBe(ReportOutcome.ACCEPTED);
  expect(farm.scheduler.stats()).toMatchObject({ queued: 1, running: 0 });
});

test("what a removed agent holds is placed again as the farm's failure, and the agent ends its own attempt when it comes back", async () => {
  const farm = await startSchedulerFarm();
  const removed = await farm.agent({ id: "removed" });
  await farm.scheduler.submit(execution("x"));
  const first = await removed.nextAssign();
  await farm.next("x", "started");
  const other = await farm.agent({ id: "other" });
  await farm.agents.remove("removed");
  expect(await farm.next("x", "waiting")).toMatchObject({
    cause: WaitCause.AGENT_LOST,
    detail: "attempt 1: removed was removed",
  });
  expect(await other.nextAssign()).toMatchObject({ executionId: "x", attempt: 2 });
  expect(farm.ended).toEqual(["x/1"]);
  await farm.agents.join(removed.info);
  removed.heartbeat();
  expect(await removed.nextCancel()).toMatchObject({ executionId: "x", epoch: first.epoch });
  expect(await removed.report(first)).toBe(ReportOutcome.FENCED);
});

test("removing agents uses up the budget for infrastructure and no more", async () => {
  const farm = await startSchedulerFarm();
  await farm.agent({ id: "a1" });
  await farm.scheduler.submit(execution("x"));
  for (let attempt = 1; attempt <= limits.infrastructureAttempts; attempt += 1) {
    expect(await farm.next("x", "started")).toMatchObject({ attempt, agent: `a${attempt}` });
    await farm.agents.remove(`a${attempt}`);
    await farm.agent({ id: `a${attempt + 1}` });
  }
  expect((await farm.next("x", "finished")).outcome.ending).toMatchObject({
    kind: EndingKind.AGENT_LOST,
    detail: expect.stringContaining("was removed"),
  });
});

test("a host operation ends when its agent is removed: a person says that it will not come back", async () => {
  const farm = await startSchedulerFarm();
  const host = await farm.agent({ id: "host" });
  await farm.agent({ id: "other" });
  await farm.scheduler.submit(
    execution("x", { labels: { agent: "host" }, hostOperation: create(HostOperationSchema) }),
  );
  const assign = await host.nextAssign();
  await farm.next("x", "started");
  await farm.agents.remove("host");
  expect((await farm.next("x", "finished")).outcome.ending).toMatchObject({
    kind: EndingKind.AGENT_LOST,
    detail: "host was removed: what it has left on its host is not known",
  });
  expect(farm.scheduler.stats()).toMatchObject({ queued: 0, running: 0 });
  await farm.agents.join(host.info);
  host.heartbeat();
  expect(await host.nextCancel()).toMatchObject({ executionId: "x" });
  expect(await host.report(assign)).toBe(ReportOutcome.FENCED);
});

test("an agent that was removed just before the coordinator was killed keeps nothing", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  const agent = await before.agent({ id: "a" });
  await before.scheduler.submit(execution("x"));
  await agent.nextAssign();
  await before.next("x", "started");
  agent.silence();
  await before.scheduler.stop(); // it hears nothing of the removal any more
  await before.agents.remove("a");
  await before.stop();
  const after = await startSchedulerFarm({ dir, broker });
  const other = await after.agent({ id: "b" });
  expect(await other.nextAssign()).toMatchObject({ executionId: "x", attempt: 2 });
});

test("the queue tells where each waits and behind what, also those that share an execution", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("running", { fairGroup: "run_1" }));
  await agent.nextAssign();
  const shared = { fairGroup: "run_2", actionDigest: digestOf(Buffer.from("shared")) };
  await farm.scheduler.submit(execution("first", { fairGroup: "run_1" }));
  await farm.scheduler.submit(execution("second", shared));
  await farm.scheduler.submit(execution("merged", { ...shared, fairGroup: "run_3" }));
  const places = farm.scheduler.view.placesOf(["first", "second", "merged", "running"]);
  const busy = { pools: [], waiting: 2, slots: 1, slotsUsed: 1, holders: [{ execution: "running", agent: "a" }] };
  expect(Object.fromEntries(places)).toEqual({
    first: { position: 2, ...busy },
    second: { position: 1, ...busy },
    merged: { position: 1, ...busy },
  });
});

test("what no agent has is taken back, and what one has goes on", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("held"));
  const held = await agent.nextAssign();
  await farm.next("held", "started");
  await farm.scheduler.submit(execution("queued"));
  for (const id of ["held", "queued", "unknown"]) farm.scheduler.cancel(id, "not now", "unbegun");
  expect((await farm.next("queued", "finished")).outcome.ending).toMatchObject({
    ...{ kind: EndingKind.CANCELLED, detail: "not now" },
  });
  expect(await agent.report(held)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("held", "finished")).outcome.ending).toMatchObject({ kind: EndingKind.EXITED });
});

test("an execution never goes to an agent that it must not have, also after a restart, and shares nothing with others", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  const first = await before.agent({ id: "a", slots: 4 });
  const actionDigest = digestOf(Buffer.from("same"));
  await before.scheduler.submit(execution("anywhere", { actionDigest }));
  await first.nextAssign();
  await before.scheduler.submit(execution("elsewhere", { actionDigest, avoidAgents: ["a"] }));
  expect(await before.next("elsewhere", "waiting")).toMatchObject({
    cause: WaitCause.NO_AGENT_MATCHES,
    detail: "no agent is connected (not counting a, which must not have it)",
  });
  await before.stop();
  const after = await startSchedulerFarm({ dir, broker });
  first.heartbeat();
  const other = await after.agent({ id: "b" });
  expect(await other.nextAssign()).toMatchObject({ executionId: "elsewhere", attempt: 1 });
});

test("a request may have fewer placements than the farm gives, and keeps that over a restart", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  await before.agent({ id: "a" });
  await before.scheduler.submit(execution("x", { attemptsMax: 1 }));
  await before.next("x", "started");
  await before.stop();
  const after = await startSchedulerFarm({ dir, broker });
  await after.scheduler.submit(execution("x", { attemptsMax: 1 }));
  await after.agents.remove("a");
  expect((await after.next("x", "finished")).outcome).toMatchObject({
    attempt: 1,
    ending: { kind: EndingKind.AGENT_LOST },
  });
});

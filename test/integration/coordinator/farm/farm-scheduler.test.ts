import { expect, test } from "vitest";
import { ReportOutcome } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, FailureScope, WaitCause } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { subjects } from "../../../../shared/bus/subjects.ts";
import { limits } from "../../../../shared/limits.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

test("an execution is assigned, started, reported and finished, and its report counts once", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  const assign = await agent.nextAssign();
  expect(await farm.next("x", "started")).toMatchObject({ attempt: 1, agent: "a" });
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("x", "finished")).outcome).toMatchObject({
    ending: { kind: EndingKind.EXITED, exitCode: 0 },
    attempt: 1,
    agent: "a",
  });
  // The answer got lost, the agent asks again: the same answer, and no second end.
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
  await farm.scheduler.forget("x");
  expect(await agent.report(assign)).toBe(ReportOutcome.FENCED);
});

test("before an execution ends, the logs of all its attempts have", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  await agent.nextAssign();
  agent.heartbeat([]);
  const second = await agent.nextAssign();
  expect(second.attempt).toBe(2);
  farm.ended.length = 0; // as if a crash had come between
  await agent.report(second);
  await farm.next("x", "finished");
  expect(farm.ended).toEqual(["x/1", "x/2"]);
});

test("an execution goes only to an agent with all its labels, and says so while there is none", async () => {
  const farm = await startSchedulerFarm();
  await farm.agent({ id: "plain", labels: { os: "linux" } });
  await farm.scheduler.submit(execution("x", { labels: { os: "linux", gpu: "yes" } }));
  expect(await farm.next("x", "waiting")).toMatchObject({
    cause: WaitCause.NO_AGENT_MATCHES,
    detail: "no connected agent offers os=linux, gpu=yes",
  });
  const fitting = await farm.agent({ id: "fitting", labels: { os: "linux", gpu: "yes" } });
  expect((await fitting.nextAssign()).executionId).toBe("x");
});

test("no agent is given more than its slots; the others wait because agents are busy", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a", slots: 2 });
  for (const id of ["x", "y", "z"]) await farm.scheduler.submit(execution(id));
  const first = await agent.nextAssign();
  await agent.nextAssign();
  expect(await farm.next("z", "waiting")).toMatchObject({ cause: WaitCause.AGENTS_BUSY });
  expect(farm.scheduler.stats()).toMatchObject({ queued: 1, running: 2 });
  await agent.report(first);
  expect((await agent.nextAssign()).executionId).toBe("z");
});

test("agents that have room and take nothing for a moment are not called busy", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a", slots: 2, labels: { os: "linux" } });
  const linux = { labels: { os: "linux" } };
  await farm.scheduler.submit(execution("failed", linux));
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "the git server does not answer" };
  await agent.report(await agent.nextAssign(), failure);
  await farm.scheduler.submit(execution("next", linux));
  expect(await farm.next("next", "waiting")).toMatchObject({
    cause: WaitCause.AGENTS_BUSY,
    detail: "no agent that offers os=linux takes work at this moment: a rests after a failure",
  });
  farm.clock.advance(limits.agentRestMs);
  const placed = [await agent.nextAssign(), await agent.nextAssign()];
  expect(placed.map(({ executionId }) => executionId)).toEqual(["failed", "next"]);
  await farm.scheduler.submit(execution("third", linux));
  expect(await farm.next("third", "waiting")).toMatchObject({ detail: "every agent that offers os=linux is busy" });
});

test("an agent that falls silent past its lease loses its executions to another, and its late report is refused", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.scheduler.submit(execution("x"));
  const lost = await first.nextAssign();
  await farm.next("x", "started");
  for (let waitedMs = 0; waitedMs <= limits.leaseMs; waitedMs += limits.heartbeatIntervalMs) {
    farm.clock.advance(limits.heartbeatIntervalMs);
  }
  expect(await farm.next("x", "waiting")).toMatchObject({ cause: WaitCause.AGENT_LOST });
  expect(farm.ended).toEqual(["x/1"]);
  const second = await farm.agent({ id: "second" });
  const again = await second.nextAssign();
  expect(again.attempt).toBe(2);
  expect(await first.report(lost)).toBe(ReportOutcome.FENCED);
  expect(await second.report(again)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("x", "finished")).outcome).toMatchObject({ attempt: 2, agent: "second" });
});

test("an outage of the bus re-places nothing: agents have grace to speak again", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  const assign = await agent.nextAssign();
  await farm.next("x", "started");
  farm.broker.setUp(false);
  farm.clock.advance(10 * limits.leaseMs);
  farm.broker.setUp(true);
  farm.clock.advance(limits.heartbeatIntervalMs);
  agent.heartbeat();
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("x", "finished")).outcome.attempt).toBe(1);
});

test("a stall of our own loop loses no agent", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  const assign = await agent.nextAssign();
  await farm.next("x", "started");
  // One timer, much too late: the fake clock jumps as a stopped process would see it.
  farm.clock.jump(5 * limits.leaseMs);
  expect(farm.scheduler.stats().running).toBe(1);
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
});

test("an agent that no longer holds what it accepted loses it at its next heartbeat", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  await agent.nextAssign();
  await farm.next("x", "started");
  agent.heartbeat([]);
  expect((await agent.nextAssign()).attempt).toBe(2);
});

test("what an agent holds without a lease is cancelled with its old epoch", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  const ghost = { executionId: "ghost", epoch: { term: 7n, number: 3n } };
  agent.heartbeat([ghost as never]);
  expect(await agent.nextCancel()).toMatchObject(ghost);
});

test("an agent that refuses is left alone until its next heartbeat, and the refusal is no attempt", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  agent.answer = "refuse";
  await farm.scheduler.submit(execution("x"));
  await farm.next("x", "waiting");
  agent.answer = "accept";
  agent.heartbeat();
  expect((await agent.nextAssign()).attempt).toBe(1);
});

test("the budget for lost agents ends in agent-lost, not in an endless loop", async () => {
  const farm = await startSchedulerFarm();
  for (let attempt = 1; attempt <= limits.infrastructureAttempts; attempt += 1) {
    const agent = await farm.agent({ id: `a${attempt}` });
    if (attempt === 1) await farm.scheduler.submit(execution("x"));
    await agent.nextAssign();
    await farm.next("x", "started");
    agent.goodbye();
  }
  expect((await farm.next("x", "finished")).outcome.ending.kind).toBe(EndingKind.AGENT_LOST);
});

test("what the farm failed at is placed again, and fails for good only when the budget is used up", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "the disk is full" };
  for (let attempt = 1; attempt <= limits.infrastructureAttempts; attempt += 1) {
    const assign = await agent.nextAssign();
    expect(assign.attempt).toBe(attempt);
    expect(await agent.report(assign, failure)).toBe(ReportOutcome.ACCEPTED);
    // The agent rests, longer each time, before it is given anything again.
    expect(farm.scheduler.stats().running).toBe(0);
    farm.clock.advance(limits.agentRestMs * 2 ** (attempt - 1));
  }
  const { ending } = (await farm.next("x", "finished")).outcome;
  expect(ending).toMatchObject({
    kind: EndingKind.INFRASTRUCTURE,
    detail: expect.stringContaining("the disk is full"),
  });
});

test("what would fail on every agent is not placed again, and no agent rests for it", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.agent({ id: "b", slots: 1 });
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "no room", scope: FailureScope.FARM };
  await farm.scheduler.submit(execution("x"));
  await agent.report(await agent.nextAssign(), failure);
  const { ending, attempt } = (await farm.next("x", "finished")).outcome;
  expect(ending).toMatchObject({ kind: EndingKind.INFRASTRUCTURE, detail: "no room" });
  expect(attempt).toBe(1);
  await farm.scheduler.submit(execution("y"));
  await agent.report(await agent.nextAssign());
});

test("what would fail on the same agent is placed on another, and ends when none is left that could have it", async () => {
  const farm = await startSchedulerFarm();
  const small = await farm.agent({ id: "a", labels: { cpu: "fast" } });
  const large = await farm.agent({ id: "b" });
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "no room", scope: FailureScope.AGENT };
  await farm.scheduler.submit(execution("anywhere"));
  await small.report(await small.nextAssign(), failure);
  const second = await large.nextAssign();
  expect(second).toMatchObject({ executionId: "anywhere", attempt: 2 });
  await large.report(second, failure);
  expect((await farm.next("anywhere", "finished")).outcome.attempt).toBe(2);

  farm.clock.advance(limits.agentRestMs);
  await farm.scheduler.submit(execution("fast", { labels: { cpu: "fast" } }));
  await small.report(await small.nextAssign(), failure);
  expect((await farm.next("fast", "finished")).outcome).toMatchObject({ ending: { detail: "no room" }, attempt: 1 });
});

test("what would fail on one agent waits for the other while that is busy", async () => {
  const farm = await startSchedulerFarm();
  const small = await farm.agent({ id: "a" });
  const large = await farm.agent({ id: "b", labels: { cpu: "fast" } });
  await farm.scheduler.submit(execution("busy", { labels: { cpu: "fast" } }));
  const busy = await large.nextAssign();
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "no room", scope: FailureScope.AGENT };
  await farm.scheduler.submit(execution("x"));
  await small.report(await small.nextAssign(), failure);
  farm.clock.advance(limits.agentRestMs);
  // The rest is over when it gets what came later.
  await farm.scheduler.submit(execution("y"));
  const later = await small.nextAssign();
  expect(later.executionId).toBe("y");
  await small.report(later);
  await large.report(busy);
  expect(await large.nextAssign()).toMatchObject({ executionId: "x", attempt: 2 });
});

test("an agent that fails at everything does not eat the queue", async () => {
  const farm = await startSchedulerFarm();
  const sick = await farm.agent({ id: "sick", slots: 8 });
  const well = await farm.agent({ id: "well", slots: 1 });
  for (let count = 0; count < 5; count += 1) await farm.scheduler.submit(execution(`x${count}`));
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "the disk is full" };
  const first = await well.nextAssign();
  for (let count = 0; count < 4; count += 1) await sick.report(await sick.nextAssign(), failure);
  await well.report(first);
  for (let count = 0; count < 4; count += 1) await well.report(await well.nextAssign());
  for (let count = 0; count < 5; count += 1) {
    expect((await farm.next(`x${count}`, "finished")).outcome).toMatchObject({ agent: "well" });
  }
});

test("while the bus is down nothing is placed and no attempt is used up", async () => {
  const farm = await startSchedulerFarm();
  for (const id of ["a", "b", "c", "d", "e"]) await farm.agent({ id });
  farm.broker.setUp(false);
  await farm.scheduler.submit(execution("x"));
  expect(farm.scheduler.stats()).toMatchObject({ queued: 1, running: 0 });
  farm.broker.setUp(true);
  expect(await farm.next("x", "started")).toMatchObject({ attempt: 1 });
});

test("an outage in the midst of an assignment re-places nothing that the agent has", async () => {
  const farm = await startSchedulerFarm();
  const cutter = farm.broker.connect();
  const uncut = await cutter.subscribe(subjects.assign("a"), () => farm.broker.setUp(false));
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("x"));
  const assign = await agent.nextAssign(); // its acceptance gets lost
  uncut();
  farm.broker.setUp(true);
  agent.heartbeat();
  expect(await farm.next("x", "started")).toMatchObject({ attempt: 1 });
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("x", "finished")).outcome.attempt).toBe(1);
});

test("an outage in the midst of an assignment that did not arrive costs an attempt and no more", async () => {
  const farm = await startSchedulerFarm();
  const cutter = farm.broker.connect();
  const uncut = await cutter.subscribe(subjects.assign("a"), () => farm.broker.setUp(false));
  const agent = await farm.agent({ id: "a" });
  agent.answer = "silence";
  await farm.scheduler.submit(execution("x"));
  await farm.next("x", "started");
  uncut();
  agent.answer = "accept";
  farm.broker.setUp(true);
  agent.heartbeat();
  expect((await agent.nextAssign()).attempt).toBe(2);
});

test("agents that are gone without a word use up no attempt", async () => {
  const farm = await startSchedulerFarm();
  for (const id of ["a", "b", "c", "d"]) (await farm.agent({ id })).silence();
  await farm.scheduler.submit(execution("x"));
  await farm.next("x", "waiting");
  const alive = await farm.agent({ id: "alive" });
  expect((await alive.nextAssign()).attempt).toBe(1);
});

test("a report counts only from the agent that holds the lease", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  const evil = await farm.agent({ id: "evil", labels: { os: "none" }, slots: 1 });
  await farm.scheduler.submit(execution("x"));
  const [first, second] = await Promise.race([
    agent.nextAssign().then((assign) => [assign, evil] as const),
    evil.nextAssign().then((assign) => [assign, agent] as const),
  ]);
  expect(await second.report(first)).toBe(ReportOutcome.FENCED);
});

test("cancelling ends a queued execution at once and asks the agent of a running one", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("running"));
  await farm.scheduler.submit(execution("queued"));
  const assign = await agent.nextAssign();
  await farm.next("running", "started");
  farm.scheduler.cancel("queued", "enough");
  expect((await farm.next("queued", "finished")).outcome.ending).toMatchObject({
    kind: EndingKind.CANCELLED,
    detail: "enough",
  });
  farm.scheduler.cancel("running", "enough");
  expect(await agent.nextCancel()).toMatchObject({ executionId: "running", epoch: assign.epoch, reason: "enough" });
});

test("runs share the farm evenly, and a greater priority goes first", async () => {
  const farm = await startSchedulerFarm();
  const blocker = await farm.agent({ id: "a", slots: 1 });
  await farm.scheduler.submit(execution("blocker", { fairGroup: "run_0" }));
  let current = await blocker.nextAssign();
  for (const id of ["a1", "a2", "a3"]) await farm.scheduler.submit(execution(id, { fairGroup: "run_a" }));
  await farm.scheduler.submit(execution("b1", { fairGroup: "run_b" }));
  await farm.scheduler.submit(execution("urgent", { fairGroup: "run_c", priority: 5 }));
  const order: string[] = [];
  for (let taken = 0; taken < 5; taken += 1) {
    await blocker.report(current);
    current = await blocker.nextAssign();
    order.push(current.executionId);
  }
  expect(order[0]).toBe("urgent");
  expect(order.slice(1)).toEqual(["a1", "a2", "a3", "b1"]);
});

test("after a restart leases stay in force, their reports count, and finished ones are told again", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  const agent = await before.agent({ id: "a", slots: 2 });
  await before.scheduler.submit(execution("held"));
  const held = await agent.nextAssign();
  await before.scheduler.submit(execution("done"));
  await agent.report(await agent.nextAssign());
  await before.next("done", "finished");
  await before.scheduler.submit(execution("queued", { labels: { os: "none" } }));
  await before.stop();

  const after = await startSchedulerFarm({ dir, broker });
  agent.heartbeat();
  await after.scheduler.submit(execution("done"));
  expect((await after.next("done", "finished")).outcome.agent).toBe("a");
  await after.scheduler.submit(execution("held"));
  expect(await after.next("held", "started")).toMatchObject({ attempt: 1, agent: "a" });
  expect(await agent.report(held)).toBe(ReportOutcome.ACCEPTED);
  expect((await after.next("held", "finished")).outcome.attempt).toBe(1);
  expect(after.scheduler.stats().queued).toBe(1);
});

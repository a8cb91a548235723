import { expect, test } from "vitest";
import type { ExecutionRequest } from "../../../../coordinator/farm/scheduler/scheduler.ts";
import { ReportOutcome } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, WaitCause } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { limits } from "../../../../shared/limits.ts";
import { execution, type SchedulerFarm, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** For any agent, but for one only. */
function once(id: string): ExecutionRequest {
  return execution(id, { atMostOnce: true });
}

function silence(farm: SchedulerFarm): void {
  for (let waitedMs = 0; waitedMs <= limits.leaseMs; waitedMs += limits.heartbeatIntervalMs) {
    farm.clock.advance(limits.heartbeatIntervalMs);
  }
}

async function lostWith(id: string) {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.scheduler.submit(once(id));
  const assign = await first.nextAssign();
  expect(assign.atMostOnce).toBe(true);
  await farm.next(id, "started");
  silence(farm);
  expect(await farm.next(id, "waiting")).toMatchObject({
    cause: WaitCause.AGENT_LOST,
    detail: expect.stringContaining("first was not heard for 10 s; it is not idempotent"),
  });
  const second = await farm.agent({ id: "second" });
  second.heartbeat();
  return { farm, first, second, assign };
}

test("what may happen once only waits for its lost agent, and that one's report counts", async () => {
  const { farm, first, assign } = await lostWith("x");
  expect(farm.ended).toEqual([]);
  expect(await first.report(assign, { kind: EndingKind.AGENT_LOST, detail: "no word" })).toBe(ReportOutcome.ACCEPTED);
  const { outcome } = await farm.next("x", "finished");
  expect(outcome).toMatchObject({ attempt: 1, agent: "first", ending: { kind: EndingKind.AGENT_LOST } });
});

test("a person who cancels it does not wait for the lost agent, whose report then comes too late", async () => {
  const { farm, first, assign } = await lostWith("x");
  farm.scheduler.cancel("x", "I have looked");
  expect((await farm.next("x", "finished")).outcome.ending).toMatchObject({ kind: EndingKind.CANCELLED });
  expect(await first.report(assign)).toBe(ReportOutcome.FENCED);
});

test("a cancel that the agent has not heard holds when the agent is lost", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.scheduler.submit(once("x"));
  await first.nextAssign();
  await farm.next("x", "started");
  first.silence();
  farm.scheduler.cancel("x", "not wanted");
  silence(farm);
  expect((await farm.next("x", "finished")).outcome.ending).toMatchObject({ kind: EndingKind.CANCELLED });
});

test.each([
  ["does not hold it any more", { kind: "heartbeat" }],
  ["left", { kind: "goodbye" }],
] as const)("it ends with the cause when its agent %s", async (cause, { kind }) => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.agent({ id: "second" });
  await farm.scheduler.submit(once("x"));
  await first.nextAssign();
  await farm.next("x", "started");
  if (kind === "heartbeat") first.heartbeat([]);
  else first.goodbye();
  const { ending } = (await farm.next("x", "finished")).outcome;
  expect(ending).toMatchObject({ kind: EndingKind.AGENT_LOST, detail: expect.stringContaining(`first ${cause}`) });
  expect(ending.detail).toContain("look at what it has done, then run it again");
});

test("it is placed again when no process was started, and not when one was", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.scheduler.submit(once("x"));
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "the inputs could not be fetched" };
  expect(await first.report(await first.nextAssign(), failure)).toBe(ReportOutcome.ACCEPTED);
  farm.clock.advance(limits.agentRestMs);
  const again = await first.nextAssign();
  expect(again).toMatchObject({ executionId: "x", attempt: 2 });
  expect(await first.report({ ...again, begun: true }, failure)).toBe(ReportOutcome.ACCEPTED);
  const { ending } = (await farm.next("x", "finished")).outcome;
  expect(ending).toMatchObject({ kind: EndingKind.INFRASTRUCTURE });
  expect(ending.detail).toContain("may have been begun");
});

test("a restart of the coordinator does not make it repeatable", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  const first = await before.agent({ id: "first" });
  await before.scheduler.submit(once("x"));
  await first.nextAssign();
  await before.next("x", "started");
  await before.stop();
  const after = await startSchedulerFarm({ dir, broker });
  first.heartbeat([]);
  expect((await after.next("x", "finished")).outcome.ending).toMatchObject({ kind: EndingKind.AGENT_LOST });
});

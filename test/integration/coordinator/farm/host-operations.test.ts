import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import type { ExecutionRequest } from "../../../../coordinator/farm/scheduler/scheduler.ts";
import { HostOperationSchema, ReportOutcome } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, WaitCause } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { limits } from "../../../../shared/limits.ts";
import { execution, type SchedulerFarm, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** A host operation for the agent `first`. */
function operation(id: string): ExecutionRequest {
  return execution(id, { labels: { agent: "first" }, hostOperation: create(HostOperationSchema) });
}

function silence(farm: SchedulerFarm): void {
  for (let waitedMs = 0; waitedMs <= limits.leaseMs; waitedMs += limits.heartbeatIntervalMs) {
    farm.clock.advance(limits.heartbeatIntervalMs);
  }
}

test("a host operation waits for its lost agent, goes to no other, and goes on when that one is back", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.scheduler.submit(operation("x"));
  const assign = await first.nextAssign();
  expect(assign.hostOperation).toBeDefined();
  await farm.next("x", "started");
  const second = await farm.agent({ id: "second" });
  silence(farm);
  expect(await farm.next("x", "waiting")).toMatchObject({
    cause: WaitCause.AGENT_LOST,
    detail: "first was not heard for 10 s, and only it can go on",
  });
  expect(farm.ended).toEqual([]);
  second.heartbeat();
  first.heartbeat();
  expect(await farm.next("x", "started")).toMatchObject({ attempt: 1, agent: "first" });
  expect(await first.report(assign)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("x", "finished")).outcome).toMatchObject({ attempt: 1, agent: "first" });
});

test("a host operation waits for an agent that left in the middle: its journal has it", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.agent({ id: "second" });
  await farm.scheduler.submit(operation("x"));
  const assign = await first.nextAssign();
  await farm.next("x", "started");
  first.goodbye();
  expect(await farm.next("x", "waiting")).toMatchObject({ cause: WaitCause.AGENT_LOST });
  first.heartbeat();
  expect(await farm.next("x", "started")).toMatchObject({ attempt: 1 });
  expect(await first.report(assign)).toBe(ReportOutcome.ACCEPTED);
  expect(farm.ended).toEqual(["x/1"]);
});

test("a host operation that its agent does not hold is placed again, on the same agent", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.agent({ id: "second" });
  await farm.scheduler.submit(operation("x"));
  await first.nextAssign();
  await farm.next("x", "started");
  first.heartbeat([]);
  expect(await first.nextAssign()).toMatchObject({ executionId: "x", attempt: 2 });
});

test("a host operation that failed for the farm's sake is not tried again: a person decides", async () => {
  const farm = await startSchedulerFarm();
  const first = await farm.agent({ id: "first" });
  await farm.scheduler.submit(operation("x"));
  const failure = { kind: EndingKind.INFRASTRUCTURE, detail: "the disk is full" };
  expect(await first.report(await first.nextAssign(), failure)).toBe(ReportOutcome.ACCEPTED);
  expect((await farm.next("x", "finished")).outcome).toMatchObject({ attempt: 1, ending: failure });
});

test("a host operation survives a restart of the coordinator as one", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  await before.scheduler.submit(operation("x"));
  await before.stop();
  const after = await startSchedulerFarm({ dir, broker });
  const first = await after.agent({ id: "first" });
  expect((await first.nextAssign()).hostOperation).toBeDefined();
});

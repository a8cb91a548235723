import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ActionSchema } from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ReportOutcome } from "../../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { inProcessBus } from "../../../../shared/bus/in-process-bus.ts";
import { digestOf } from "../../../../shared/digest.ts";
import { execution, startSchedulerFarm } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const actionDigest = digestOf(Buffer.from("the same Action"));
const same = (id: string, extra: Parameters<typeof execution>[1] = {}) => execution(id, { actionDigest, ...extra });

test("identical Actions in flight run once, and each who asked is told, with the execution whose log it is", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a", slots: 4 });
  await farm.scheduler.submit(same("first"));
  const assign = await agent.nextAssign();
  await farm.next("first", "started");
  await farm.scheduler.submit(same("second"));
  expect(await farm.next("second", "started")).toMatchObject({ execution: "first", attempt: 1, agent: "a" });
  expect(farm.scheduler.stats()).toMatchObject({ queued: 0, running: 1 });
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
  for (const id of ["first", "second"]) {
    const { outcome } = await farm.next(id, "finished");
    expect(outcome).toMatchObject({ agent: "a", attempt: 1, ending: { kind: EndingKind.EXITED } });
  }
});

test("what must not be cached is not shared", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a", slots: 4 });
  const action = create(ActionSchema, { doNotCache: true });
  await farm.scheduler.submit(same("first", { action }));
  await farm.scheduler.submit(same("second", { action }));
  expect([(await agent.nextAssign()).executionId, (await agent.nextAssign()).executionId]).toEqual(["first", "second"]);
});

test("a shared execution has the greatest priority of those who wait, and loses it when that one goes", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(execution("blocker"));
  const blocker = await agent.nextAssign();
  await farm.scheduler.submit(same("low"));
  await farm.scheduler.submit(execution("middle", { priority: 5 }));
  await farm.scheduler.submit(same("high", { priority: 9 }));
  await agent.report(blocker);
  const shared = await agent.nextAssign();
  expect(shared.executionId).toBe("low");
  await farm.scheduler.submit(execution("one", { actionDigest: digestOf(Buffer.from("other")) }));
  await farm.scheduler.submit(execution("two", { actionDigest: digestOf(Buffer.from("other")), priority: 9 }));
  farm.scheduler.cancel("two", "enough");
  await farm.next("two", "finished");
  await agent.report(shared);
  expect((await agent.nextAssign()).executionId).toBe("middle");
});

test("a shared execution is cancelled only when the last who waits has gone", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a", slots: 2 });
  await farm.scheduler.submit(same("first"));
  const assign = await agent.nextAssign();
  await farm.scheduler.submit(same("second"));
  farm.scheduler.cancel("first", "enough");
  const { outcome } = await farm.next("first", "finished");
  expect(outcome.ending).toMatchObject({ kind: EndingKind.CANCELLED, detail: "enough" });
  await farm.scheduler.forget("first");
  expect(farm.scheduler.stats().running).toBe(1);
  farm.scheduler.cancel("second", "enough, too");
  expect(await agent.nextCancel()).toMatchObject({ executionId: "first", epoch: assign.epoch, reason: "enough, too" });
  // What is on its way out is not joined: the next one wants a process that runs to its end.
  await farm.scheduler.submit(same("third"));
  expect((await agent.nextAssign()).executionId).toBe("third");
  await agent.report(assign, { kind: EndingKind.CANCELLED });
  expect((await farm.next("second", "finished")).outcome.ending.kind).toBe(EndingKind.CANCELLED);
});

test("one who asks between the end of an execution and its last reader shares a success, and runs a failure again", async () => {
  const farm = await startSchedulerFarm();
  const agent = await farm.agent({ id: "a" });
  await farm.scheduler.submit(same("first"));
  await agent.report(await agent.nextAssign());
  await farm.next("first", "finished");
  await farm.scheduler.submit(same("second"));
  expect((await farm.next("second", "finished")).outcome.agent).toBe("a");
  await farm.scheduler.forget("first");
  await farm.scheduler.forget("second");
  await farm.scheduler.submit(same("third"));
  const failing = await agent.nextAssign();
  expect(failing.executionId).toBe("third");
  await agent.report(failing, { kind: EndingKind.EXITED, exitCode: 1 });
  await farm.next("third", "finished");
  await farm.scheduler.submit(same("fourth"));
  expect((await agent.nextAssign()).executionId).toBe("fourth");
});

test("after a restart a shared execution is held as before, also when the one it is named after has gone", async () => {
  const dir = tempDir();
  const broker = inProcessBus();
  const before = await startSchedulerFarm({ dir, broker });
  const agent = await before.agent({ id: "a", slots: 2 });
  for (const id of ["first", "second", "third"]) await before.scheduler.submit(same(id));
  const assign = await agent.nextAssign();
  await before.next("second", "started");
  before.scheduler.cancel("first", "enough");
  await before.next("first", "finished");
  await before.scheduler.forget("first");
  before.scheduler.cancel("third", "enough");
  await before.next("third", "finished");
  await before.stop();

  const after = await startSchedulerFarm({ dir, broker });
  agent.heartbeat();
  await after.scheduler.submit(same("second"));
  await after.scheduler.submit(same("third"));
  expect(await after.next("second", "started")).toMatchObject({ execution: "first", attempt: 1 });
  expect((await after.next("third", "finished")).outcome.ending.kind).toBe(EndingKind.CANCELLED);
  await after.scheduler.submit(same("fourth"));
  expect(await after.next("fourth", "started")).toMatchObject({ execution: "first" });
  expect(await agent.report(assign)).toBe(ReportOutcome.ACCEPTED);
  for (const id of ["second", "fourth"]) expect((await after.next(id, "finished")).outcome.agent).toBe("a");
});

test("the loss of an agent is told to all who share, and they share the next attempt", async () => {
  const farm = await startSchedulerFarm();
  const lost = await farm.agent({ id: "lost" });
  await farm.scheduler.submit(same("first"));
  await farm.scheduler.submit(same("second"));
  await lost.nextAssign();
  lost.goodbye();
  for (const id of ["first", "second"]) await farm.next(id, "waiting");
  const other = await farm.agent({ id: "other" });
  expect(await other.nextAssign()).toMatchObject({ executionId: "first", attempt: 2 });
  for (const id of ["first", "second"]) {
    await farm.next(id, "started");
    expect(await farm.next(id, "started")).toMatchObject({ execution: "first", attempt: 2, agent: "other" });
  }
});

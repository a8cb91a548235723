import { expect, test } from "vitest";
import { EndingKind, GateDecision, RunStatus, TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type BusAgent, busAgent } from "../../support/bus-agent.ts";
import { type Clients, startTestCoordinator } from "../../support/coordinator.ts";
import { eventOf } from "../../support/events.ts";
import { submitText } from "../../support/runs.ts";
import { tempDir } from "../../support/temp-dir.ts";

type TestCoordinator = Awaited<ReturnType<typeof startTestCoordinator>>;

const ofTasks = (concurrency: string) =>
  `name: p\nstages: { s: { tasks: { t: { run: echo hi, cache: false, concurrency: ${concurrency} } } } }\n`;
const ofRuns = (concurrency: string) =>
  `name: p\nconcurrency: ${concurrency}\nstages: { s: { tasks: { t: { run: echo hi, cache: false } } } }\n`;

async function joinAgent(coordinator: TestCoordinator): Promise<BusAgent> {
  const machine = await coordinator.asAgent("a");
  const agent = await busAgent(await coordinator.connectBus(), { id: "a", slots: 8 });
  await machine.agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  return agent;
}

/** Resolves when the task has been told to wait for its group. */
async function waits(person: Clients, run: string): Promise<void> {
  await eventOf(person, run, ({ case: kind, value }) => {
    return kind === "taskWaiting" && value.wait?.cause === WaitCause.CONCURRENCY;
  });
}

async function taskOf({ runs }: Clients, run: string) {
  const [task] = (await runs.getRun({ run })).run?.tasks ?? [];
  return task;
}

async function statusAtEnd(person: Clients, run: string): Promise<RunStatus | undefined> {
  const { kind } = await eventOf(person, run, (kind) => kind.case === "runFinished");
  return kind.case === "runFinished" ? kind.value.status : undefined;
}

test("tasks of a group run one after the other, in the order of asking, and say who holds the place", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const agent = await joinAgent(coordinator);
  const first = await submitText(person, ofTasks("deploy"));
  const running = await agent.nextAssign();
  const later = [await submitText(person, ofTasks("deploy")), await submitText(person, ofTasks("deploy"))];
  for (const run of later) await waits(person, run);
  expect((await taskOf(person, later[1] ?? ""))?.wait).toMatchObject({
    cause: WaitCause.CONCURRENCY,
    detail: `the group "deploy" has room for 1: held by ${first} s/t; 2 of 2 in line`,
  });

  await agent.report(running);
  const second = await agent.nextAssign();
  expect(second.executionId).toBe(`${later[0]}.s.t`);
  expect((await taskOf(person, later[1] ?? ""))?.wait?.detail).toBe(
    `the group "deploy" has room for 1: held by ${later[0]} s/t; 1 of 1 in line`,
  );
  await person.runs.cancelRun({ run: later[1] ?? "" });
  const last = await submitText(person, ofTasks("{ group: other }"));
  expect((await agent.nextAssign()).executionId).toBe(`${last}.s.t`);
});

test("after a restart the place is still held, and the line is as it was", async () => {
  const data = tempDir();
  const coordinator = await startTestCoordinator(data);
  const person = coordinator.as("admin");
  const agent = await joinAgent(coordinator);
  const runs: string[] = [];
  for (let submitted = 0; submitted < 4; submitted += 1) runs.push(await submitText(person, ofTasks("deploy")));
  const running = await agent.nextAssign();
  for (const run of runs.slice(1)) await waits(person, run);
  await coordinator.stop();

  const next = await startTestCoordinator(data);
  const again = next.as("admin");
  const successor = await joinAgent(next);
  expect((await taskOf(again, runs[3] ?? ""))?.wait).toMatchObject({
    cause: WaitCause.CONCURRENCY,
    detail: `the group "deploy" has room for 1: held by ${runs[0]} s/t; 3 of 3 in line`,
  });
  // The agent has forgotten what it was given, so it gets it anew, and nobody else does before.
  for (const run of runs) {
    const assign = await successor.nextAssign();
    expect(assign.executionId).toBe(`${run}.s.t`);
    await successor.report(assign);
  }
  expect(running.executionId).toBe(`${runs[0]}.s.t`);
  for (const run of runs) expect(await statusAtEnd(again, run)).toBe(RunStatus.SUCCEEDED);
});

test("a run waits for its place with all that could begin, and a newer one cancels what waits and what runs", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const agent = await joinAgent(coordinator);
  const queued = ofRuns("{ group: main, policy: cancel-superseded }");
  const first = await submitText(person, ofRuns("main"));
  const running = await agent.nextAssign();
  const second = await submitText(person, ofRuns("main"));
  await waits(person, second);
  expect((await taskOf(person, second))?.wait?.detail).toContain(`held by ${first};`);

  const newest = await submitText(person, queued);
  expect(await statusAtEnd(person, second)).toBe(RunStatus.CANCELLED);
  expect((await taskOf(person, second))?.ending?.detail).toBe(`superseded by ${newest}`);
  await waits(person, newest);
  expect((await agent.nextCancel()).executionId).toBe(running.executionId);
  await agent.report(running, { kind: EndingKind.CANCELLED, detail: `superseded by ${newest}` });
  expect(await statusAtEnd(person, first)).toBe(RunStatus.CANCELLED);
  const { kind } = await eventOf(person, first, (kind) => kind.case === "runCancelRequested");
  expect(kind.value).toMatchObject({ reason: `superseded by ${newest}` });

  const assign = await agent.nextAssign();
  expect(assign.executionId).toBe(`${newest}.s.t`);
  await agent.report(assign);
  expect(await statusAtEnd(person, newest)).toBe(RunStatus.SUCCEEDED);
});

test("a newer task stops the older one alone: the rest of its run goes on", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const agent = await joinAgent(coordinator);
  const text = (group: string) =>
    `name: p\nstages: { s: { tasks: { t: { run: echo hi, cache: false, concurrency: ${group} }, u: { run: echo, cache: false } } } }\n`;
  const first = await submitText(person, text("{ group: web, policy: cancel-superseded }"));
  const assigns = [await agent.nextAssign(), await agent.nextAssign()];
  const old = assigns.find(({ executionId }) => executionId === `${first}.s.t`);
  const rest = assigns.find(({ executionId }) => executionId === `${first}.s.u`);
  if (old === undefined || rest === undefined) throw new Error("the tasks of the first run were not assigned");
  const newer = await submitText(person, ofTasks("{ group: web, policy: cancel-superseded }"));
  expect((await agent.nextCancel()).executionId).toBe(old.executionId);
  await agent.report(old, { kind: EndingKind.CANCELLED, detail: `superseded by ${newer}` });
  expect((await agent.nextAssign()).executionId).toBe(`${newer}.s.t`);

  const shown = (await person.runs.getRun({ run: first })).run;
  expect(shown?.status).toBe(RunStatus.RUNNING);
  expect(shown?.tasks.map(({ status }) => status)).toEqual([TaskStatus.CANCELLED, TaskStatus.RUNNING]);
  await agent.report(rest);
  expect(await statusAtEnd(person, first)).toBe(RunStatus.CANCELLED);
});

test("a gate opens when its run has its place, and the run keeps that over a restart", async () => {
  const data = tempDir();
  const coordinator = await startTestCoordinator(data);
  const person = coordinator.as("admin");
  const agent = await joinAgent(coordinator);
  const first = await submitText(person, ofRuns("main"));
  const running = await agent.nextAssign();
  const gated = "name: p\nconcurrency: main\nstages: { ask: { manual: { title: Is it good? } } }\n";
  const second = await submitText(person, gated);
  await waits(person, second);
  const waiting = await taskOf(person, second);
  expect(waiting?.wait?.detail).toContain(`held by ${first};`);
  expect(waiting?.gate?.binding).toBeUndefined();
  const word = { run: second, stage: "ask", decision: GateDecision.APPROVED };
  await expect(person.runs.decideGate({ ...word, binding: "0".repeat(64) })).rejects.toThrow(
    `is not open yet: the group "main" has room for 1: held by ${first}`,
  );
  await agent.report(running);
  const opened = (await eventOf(person, second, (kind) => kind.case === "gateOpened")).kind;
  const third = await submitText(person, ofRuns("main"));
  await waits(person, third);
  await coordinator.stop();

  const next = await startTestCoordinator(data);
  const again = next.as("admin");
  const successor = await joinAgent(next);
  expect((await taskOf(again, third))?.wait?.detail).toContain(`held by ${second};`);
  const binding = opened.case === "gateOpened" ? (opened.value.binding?.hash ?? "") : "";
  await again.runs.decideGate({ ...word, binding });
  expect(await statusAtEnd(again, second)).toBe(RunStatus.SUCCEEDED);
  expect((await successor.nextAssign()).executionId).toBe(`${third}.s.t`);
});

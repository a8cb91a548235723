import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { GateDecision, RunStatus, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { RunRequest } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { digestOf } from "../../../shared/digest.ts";
import { busAgent } from "../../support/bus-agent.ts";
import { type Clients, startTestCoordinator } from "../../support/coordinator.ts";
import { archive, submitText, tarOf, work } from "../../support/runs.ts";
import { tempDir } from "../../support/temp-dir.ts";

const pipeline = "name: p\nstages: { s: { tasks: { t: { run: echo hi } } } }\n";

function submit(clients: Clients, start: Partial<RunRequest> = {}, text = pipeline): Promise<string> {
  return submitText(clients, text, start);
}

async function failureOf(call: Promise<unknown>): Promise<ConnectError> {
  return ConnectError.from(
    await call.then(
      () => "it went well",
      (error: unknown) => error,
    ),
  );
}

test("a run goes from a tar to its outcome, and can be watched and read from any point", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const machine = await coordinator.asAgent("a");
  const agent = await busAgent(await coordinator.connectBus(), { id: "a" });
  await machine.agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  const run = await submit(person);
  const assign = await agent.nextAssign();
  expect(assign.volatileEnvironment).toMatchObject({ MILLRACE_RUN: run, MILLRACE_TASK: "t", CI: "true" });
  await work(agent, machine, assign, "one\ntwo\n");

  const kinds: (string | undefined)[] = [];
  for await (const { sequence, event } of person.runs.watchRun({ run })) {
    expect(sequence).toBe(BigInt(kinds.length + 1));
    expect(event?.traceparent).toMatch(/^00-/);
    kinds.push(event?.kind.case);
  }
  expect(kinds).toEqual([
    "runRequested",
    "runPlanned",
    "taskWaiting",
    "taskSubmitted",
    "taskStarted",
    "taskFinished",
    "runFinished",
  ]);
  const later: bigint[] = [];
  for await (const { sequence } of person.runs.watchRun({ run, afterSequence: 5n })) later.push(sequence);
  expect(later).toEqual([6n, 7n]);

  const shown = (await person.runs.getRun({ run })).run;
  expect(shown).toMatchObject({ status: RunStatus.SUCCEEDED, principal: "token:admin", project: "default" });
  expect(shown?.tasks[0]).toMatchObject({ status: TaskStatus.SUCCEEDED, agent: "a", attempts: 1 });

  const read = async (request: object): Promise<string> => {
    let text = "";
    for await (const { data } of person.logs.readLog({ run, ...request })) text += Buffer.from(data).toString();
    return text;
  };
  expect(await read({})).toBe("one\ntwo\n");
  expect(await read({ task: "t", offset: 4n })).toBe("two\n");
  expect(await read({ task: "s/t", follow: true })).toBe("one\ntwo\n");
  expect(await failureOf(read({ task: "nope" }))).toMatchObject({ code: Code.NotFound });
});

test("without a token, with an unknown one or with the wrong role nothing is done", async () => {
  const coordinator = await startTestCoordinator();
  expect(await failureOf(coordinator.withToken().runs.listRuns({}))).toMatchObject({ code: Code.Unauthenticated });
  expect(await failureOf(coordinator.withToken("mr_guess").runs.listRuns({}))).toMatchObject({
    code: Code.Unauthenticated,
  });
  const machine = await coordinator.asAgent("a");
  expect(await failureOf(machine.runs.listRuns({}))).toMatchObject({ code: Code.PermissionDenied });
  expect(await failureOf(coordinator.as("admin").agents.joinFarm({}))).toMatchObject({ code: Code.PermissionDenied });
  expect(
    await failureOf(machine.cas.findMissing([digestOf(Buffer.from("x"))]).then(() => Promise.reject(new Error("ok")))),
  ).toMatchObject({
    rawMessage: "ok",
  });
});

test("an archive that is cut short or does not add up starts nothing", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const tar = await tarOf({ "millrace.yaml": pipeline });
  expect(await failureOf(person.runs.submitRunArchive(archive(tar, {}, 1)))).toMatchObject({
    code: Code.InvalidArgument,
  });
  async function* withoutFinish() {
    for await (const part of archive(tar)) if (part.part?.case !== "finish") yield part;
  }
  expect((await failureOf(person.runs.submitRunArchive(withoutFinish()))).rawMessage).toContain("without `finish`");
  async function* withoutStart() {
    for await (const part of archive(tar)) if (part.part?.case !== "start") yield part;
  }
  expect((await failureOf(person.runs.submitRunArchive(withoutStart()))).rawMessage).toContain("must be `start`");
  expect((await person.runs.listRuns({})).runs).toEqual([]);
});

test("every problem of a pipeline file comes back at once, each with file, line and column", async () => {
  const coordinator = await startTestCoordinator();
  const wrong = "name: p\nstages:\n  s:\n    tasks:\n      t: { run: 1, neds: [x] }\n  u: { needs: [v], tasks: {} }\n";
  const failure = await failureOf(submit(coordinator.as("admin"), {}, wrong));
  expect(failure.code).toBe(Code.InvalidArgument);
  const fields = failure.findDetails(BadRequestSchema).flatMap(({ fieldViolations }) => fieldViolations);
  expect(fields.length).toBeGreaterThan(2);
  for (const { field } of fields) expect(field).toMatch(/^millrace\.yaml:\d+:\d+$/);
});

test("fifty submits at once with one idempotency key give one run, also while the coordinator is started again", async () => {
  const data = tempDir();
  const coordinator = await startTestCoordinator(data);
  const person = coordinator.as("admin");
  const many = (clients: Clients) => Array.from({ length: 50 }, () => submit(clients, { idempotencyKey: "k" }));
  expect(new Set(await Promise.all(many(person)))).toEqual(new Set(["run_1"]));
  expect(await submit(coordinator.as("admin"), { idempotencyKey: "k" })).toBe("run_1");
  expect(await submit(person, { idempotencyKey: "other" })).toBe("run_2");

  const interrupted = Array.from({ length: 50 }, () => submit(person, { idempotencyKey: "interrupted" }));
  await Promise.any(interrupted);
  await Promise.all([coordinator.stop(), Promise.allSettled(interrupted)]);
  const again = (await startTestCoordinator(data)).as("admin");
  const retried = Array.from({ length: 50 }, () => submit(again, { idempotencyKey: "interrupted" }));
  expect(new Set(await Promise.all([...retried, ...many(again)]))).toEqual(new Set(["run_1", "run_3"]));
  expect((await again.runs.listRuns({})).runs).toHaveLength(3);
});

test("runs are listed newest first, in pages", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  for (let submitted = 0; submitted < 5; submitted += 1) await submit(person);
  const first = await person.runs.listRuns({ pageSize: 2 });
  expect(first.runs.map(({ name }) => name)).toEqual(["run_5", "run_4"]);
  const second = await person.runs.listRuns({ pageSize: 2, pageToken: first.nextPageToken });
  expect(second.runs.map(({ name }) => name)).toEqual(["run_3", "run_2"]);
  const last = await person.runs.listRuns({ pageSize: 2, pageToken: second.nextPageToken });
  expect(last).toMatchObject({ runs: [{ name: "run_1" }], nextPageToken: "" });
});

test("a run that waits can be cancelled, and its watcher is told the end", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const run = await submit(person);
  const watched = (async () => {
    let last: string | undefined;
    for await (const { event } of person.runs.watchRun({ run })) {
      last = event?.kind.case;
      if (last === "taskWaiting" || last === "taskSubmitted") continue;
    }
    return last;
  })();
  await person.runs.cancelRun({ run, reason: "enough" });
  expect(await watched).toBe("runFinished");
  expect((await person.runs.getRun({ run })).run?.status).toBe(RunStatus.CANCELLED);
  expect(await failureOf(person.runs.cancelRun({ run: "run_99" }))).toMatchObject({ code: Code.NotFound });
});

test("people decide at gates and ask for the flow, machines do neither", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  const machine = await coordinator.asAgent("a");
  expect(await failureOf(person.flow.getFlow({}))).toMatchObject({ code: Code.NotFound });
  const run = await submit(person, {}, "name: p\nstages: { look: { manual: { title: Look at it } } }\n");
  const { binding } = (await person.runs.getRun({ run })).run?.tasks[0]?.gate ?? {};
  const decision = { run, stage: "look", decision: GateDecision.APPROVED, binding: binding?.hash ?? "" };
  expect(await failureOf(machine.runs.decideGate(decision))).toMatchObject({ code: Code.PermissionDenied });
  expect(await failureOf(machine.flow.getFlow({ run }))).toMatchObject({ code: Code.PermissionDenied });
  const other = { ...decision, binding: "0".repeat(64) };
  expect(await failureOf(person.runs.decideGate(other))).toMatchObject({ code: Code.FailedPrecondition });
  await Promise.all([person.runs.decideGate(decision), person.runs.decideGate(decision)]);
  expect((await person.runs.getRun({ run })).run?.status).toBe(RunStatus.SUCCEEDED);
  expect((await person.flow.getFlow({ run })).flow).toMatchObject({ case: "run", value: { run, pipeline: "p" } });
  expect((await person.flow.getFlow({ pipeline: "p" })).flow).toMatchObject({ value: { runs: [run] } });
  expect(await failureOf(person.flow.getFlow({ run, pipeline: "p" }))).toMatchObject({ code: Code.InvalidArgument });
});

test("an agent of another version, or with an impossible name, is told why it cannot join", async () => {
  const coordinator = await startTestCoordinator();
  const machine = await coordinator.asAgent("a");
  const join = (agent: object) =>
    failureOf(machine.agents.joinFarm({ agent: { id: "a", slots: 1, version: "0.1.0", ...agent } }));
  expect((await join({ version: "9.0.0" })).code).toBe(Code.FailedPrecondition);
  expect((await join({ id: "../a" })).code).toBe(Code.InvalidArgument);
  expect((await join({ slots: 0 })).code).toBe(Code.InvalidArgument);
  expect((await coordinator.as("admin").agents.listAgents({})).agents).toMatchObject([{ state: AgentState.ENROLLED }]);
});

test("agents are shown with their state and what they hold", async () => {
  const coordinator = await startTestCoordinator();
  const agent = await busAgent(await coordinator.connectBus(), { id: "a", labels: { os: "linux" } });
  await (await coordinator.asAgent("a")).agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  await submit(coordinator.as("admin"));
  await agent.nextAssign();
  const { agents } = await coordinator.as("admin").agents.listAgents({});
  expect(agents[0]).toMatchObject({ state: AgentState.ONLINE, slotsUsed: 1, executions: ["run_1.s.t"] });
});

test("metrics tell of runs that are paused and of tasks that were skipped", async () => {
  const coordinator = await startTestCoordinator();
  const { runs } = coordinator.as("admin");
  const task = "{ run: echo, inputs: [], agents: { os: plan9 } }";
  const run = await submitText({ runs }, `name: p\nstages: { s: { tasks: { a: ${task}, b: ${task} } } }\n`);
  const lines = async () => (await (await fetch(`${coordinator.http}/metrics`)).text()).split("\n");
  await runs.pauseRun({ run });
  expect(await lines()).toEqual(
    expect.arrayContaining(['millrace_runs{state="running"} 0', 'millrace_runs{state="paused"} 1']),
  );
  await runs.skipTask({ run, task: "a" });
  await runs.skipTask({ run, task: "b" });
  const after = await lines();
  expect(after).toContain('millrace_runs{state="paused"} 0');
  expect(after).toContain('millrace_tasks_total{status="skipped",cached="false"} 2');
});

test("the same services answer JSON over HTTP, beside metrics and health", async () => {
  const coordinator = await startTestCoordinator();
  await submit(coordinator.as("admin"));
  const call = async (headers: Record<string, string>) =>
    fetch(`${coordinator.http}/millrace.v1.RunService/GetRun`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ run: "run_1" }),
    });
  const answer = await call({ authorization: `Bearer ${coordinator.tokenOf("admin")}` });
  expect(await answer.json()).toMatchObject({ run: { name: "run_1", pipeline: "p" } });
  expect((await call({})).status).toBe(401);
  const metrics = await (await fetch(`${coordinator.http}/metrics`)).text();
  expect(metrics).toContain(
    'millrace_rpc_seconds_count{method="millrace.v1.RunService/GetRun",code="unauthenticated"} 1',
  );
  expect(metrics).toContain('millrace_runs{state="running"} 1');
  expect((await fetch(`${coordinator.http}/healthz`)).status).toBe(200);
  expect((await fetch(`${coordinator.http}/readyz`)).status).toBe(200);
  expect((await fetch(`${coordinator.http}/nothing`)).status).toBe(404);
});

import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import type { Assign } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, RunStatus, TaskStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Run } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import { type BusAgent, busAgent } from "../../support/bus-agent.ts";
import { type Clients, startTestCoordinator } from "../../support/coordinator.ts";
import { submitText, work } from "../../support/runs.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** A coordinator on this folder with one more agent each time that it is started. */
async function start(data: string, id: string, slots = 1) {
  const coordinator = await startTestCoordinator(data);
  const person = coordinator.as("admin");
  const bus = await coordinator.connectBus();
  return {
    person,
    stop: coordinator.stop,
    /** Gives, when it listens, the moment at which it is asked to take an execution, whatever it answers. */
    async listen(): Promise<{ readonly asked: Promise<void> }> {
      const { promise: asked, resolve } = Promise.withResolvers<void>();
      onTestFinished(await bus.subscribe(subjects.assign(id), () => resolve()));
      return { asked };
    },
    async join(as = id): Promise<{ agent: BusAgent; machine: Clients }> {
      const machine = await coordinator.asAgent(as);
      const agent = await busAgent(bus, { id: as, slots });
      await machine.agents.joinFarm({ agent: agent.info });
      agent.heartbeat();
      return { agent, machine };
    },
  };
}

const failed = { kind: EndingKind.EXITED, exitCode: 1 } as const;
const stateOf = async ({ runs }: Clients, run: string): Promise<Run> => {
  const answer = (await runs.getRun({ run })).run;
  if (answer === undefined) throw new Error("no run");
  return answer;
};

/** Resolves with the run when an event has made it so. */
async function until(person: Clients, run: string, is: (state: Run) => boolean): Promise<Run> {
  const watching = new AbortController();
  onTestFinished(() => watching.abort());
  for await (const _ of person.runs.watchRun({ run }, { signal: watching.signal })) {
    const state = await stateOf(person, run);
    if (is(state)) return state;
  }
  const state = await stateOf(person, run);
  if (!is(state)) throw new Error("the run has finished otherwise");
  return state;
}

const statusIs = (status: RunStatus) => (state: Run) => state.status === status;
const causeIs = (cause: WaitCause) => (state: Run) => state.tasks[0]?.wait?.cause === cause;

test("the delay before another try outlasts the coordinator, and each try is an execution with a log of its own", async () => {
  const data = tempDir();
  const yaml = "name: p\nstages: { s: { tasks: { t: { run: x, retry: { times: 1, delay: 1s } } } } }\n";
  const before = await start(data, "a");
  const run = await submitText(before.person, yaml);
  const first = await before.join();
  const assign = await first.agent.nextAssign();
  expect(assign).toMatchObject({ executionId: `${run}.s.t`, volatileEnvironment: { MILLRACE_TRY: "1" } });
  await writeLog(first.machine, assign, "first\n");
  await first.agent.report(assign, failed);
  await until(before.person, run, causeIs(WaitCause.RETRY_DELAY));
  await before.stop();

  const after = await start(data, "b");
  const second = await after.join();
  const again = await second.agent.nextAssign();
  expect(again).toMatchObject({ executionId: `${run}.s.t.2`, attempt: 1, volatileEnvironment: { MILLRACE_TRY: "2" } });
  await work(second.agent, second.machine, again, "second\n");
  const { tasks } = await until(after.person, run, statusIs(RunStatus.SUCCEEDED));
  expect(tasks[0]).toMatchObject({ try: 2, agent: "b", tries: [{ try: 1, agent: "a", ending: { exitCode: 1 } }] });
  const read = async (request: object) => {
    const pieces: string[] = [];
    for await (const piece of after.person.logs.readLog({ run, ...request })) {
      pieces.push(piece.finish ? `end of ${piece.try}` : `${piece.try}: ${Buffer.from(piece.data).toString().trim()}`);
    }
    return pieces;
  };
  expect(await read({ task: "t" })).toEqual(["2: second", "end of 2"]);
  expect(await read({ task: "t", try: 1, follow: true })).toEqual(["1: first", "end of 1"]);
  expect((await read({})).toSorted()).toEqual(["1: first", "2: second", "end of 1", "end of 2"]);
});

test("what waits for an agent is taken back by a pause, also when the coordinator was stopped before it was", async () => {
  const data = tempDir();
  const yaml = "name: p\nstages: { s: { tasks: { t: { run: x, cache: false } } } }\n";
  const before = await start(data, "a");
  const run = await submitText(before.person, yaml);
  await until(before.person, run, causeIs(WaitCause.NO_AGENT_MATCHES));
  // The pause is written, what becomes of the execution is not: what a kill between the two leaves.
  const database = new Database(join(data, "coordinator.db"));
  onTestFinished(() => void database.close());
  const refusal = "BEGIN SELECT RAISE(FAIL, 'on purpose'); END";
  database.exec(`CREATE TRIGGER fallen BEFORE UPDATE OF outcome ON execution ${refusal}`);
  await before.person.runs.pauseRun({ run, reason: "lunch" });
  expect((await stateOf(before.person, run)).tasks[0]).toMatchObject({ status: TaskStatus.QUEUED });
  await before.stop();
  database.exec("DROP TRIGGER fallen");

  const after = await start(data, "b");
  const { pause } = await until(after.person, run, causeIs(WaitCause.PAUSED));
  expect(pause).toMatchObject({ reason: "lunch", principal: "token:admin" });
  const { agent } = await after.join();
  await after.person.runs.resumeRun({ run });
  const assign = await agent.nextAssign();
  expect(assign.executionId).toBe(`${run}.s.t.2`);
  await agent.report(assign);
  expect((await until(after.person, run, statusIs(RunStatus.SUCCEEDED))).tasks[0]).toMatchObject({ try: 1, tries: [] });
});

test("a finished run goes on when it is re-run, over a restart, and whoever watches or lists it sees its last end", async () => {
  const data = tempDir();
  const yaml =
    "name: p\nstages: { s: { tasks: { a: { run: x }, b: { run: y, needs: [a] }, c: { run: z, needs: [b] } } } }\n";
  const before = await start(data, "a");
  const run = await submitText(before.person, yaml);
  const first = await before.join();
  await work(first.agent, first.machine, await first.agent.nextAssign(), "");
  await first.agent.report(await first.agent.nextAssign(), failed);
  await until(before.person, run, statusIs(RunStatus.FAILED));
  const { tasks } = await before.person.runs.retryRun({ run, avoidLastAgent: true });
  expect(tasks).toEqual(["s/b", "s/c"]);
  const waiting = await until(
    before.person,
    run,
    (state) => state.tasks[1]?.wait?.cause === WaitCause.NO_AGENT_MATCHES,
  );
  expect(waiting.tasks.map(({ status }) => status)).toEqual([
    ...[TaskStatus.SUCCEEDED, TaskStatus.QUEUED, TaskStatus.WAITING],
  ]);
  await before.stop();

  const after = await start(data, "b");
  const listed = async () => (await after.person.runs.listRuns({})).runs[0];
  expect(await listed()).toMatchObject({ name: run, status: RunStatus.RUNNING });
  const second = await after.join();
  for (const id of [`${run}.s.b.2`, `${run}.s.c.2`]) {
    const assign = await second.agent.nextAssign();
    expect(assign.executionId).toBe(id);
    await second.agent.report(assign);
  }
  const done = await until(after.person, run, statusIs(RunStatus.SUCCEEDED));
  expect(done.tasks.map((task) => [task.agent, task.try])).toEqual([
    ["a", 1],
    ["b", 2],
    ["b", 1],
  ]);
  const kinds: (string | undefined)[] = [];
  for await (const { event } of after.person.runs.watchRun({ run })) kinds.push(event?.kind.case);
  expect(kinds.filter((kind) => kind === "runFinished")).toHaveLength(2);
  expect(kinds.at(-1)).toBe("runFinished");
  expect(await after.person.admin.rebuildProjections({})).toMatchObject({ changed: 0n });
  expect(await listed()).toMatchObject({ status: RunStatus.SUCCEEDED });
  await after.person.runs.commentRun({ run, text: "at last" });
  expect((await stateOf(after.person, run)).comments).toMatchObject([{ text: "at last", principal: "token:admin" }]);
});

test("a task that was skipped while an agent was asked is not executed once more before that has come to an end", async () => {
  const data = tempDir();
  const yaml = "name: p\nstages: { s: { tasks: { t: { run: x, cache: false } } } }\n";
  const { person, listen, join: enter } = await start(data, "a");
  const { agent } = await enter();
  agent.answer = "silence";
  const { asked } = await listen();
  const run = await submitText(person, yaml);
  await asked;
  await person.runs.skipTask({ run, task: "t" });
  expect((await stateOf(person, run)).status).toBe(RunStatus.SUCCEEDED);
  await person.runs.retryRun({ run, tasks: ["t"] });
  const other = (await enter("b")).agent;
  const database = new Database(join(data, "coordinator.db"), { readonly: true });
  onTestFinished(() => void database.close());
  const again = await other.nextAssign();
  expect(again.executionId).toBe(`${run}.s.t.2`);
  const unfinished = database.prepare("SELECT id FROM execution WHERE outcome IS NULL").pluck().all();
  expect(unfinished).toEqual([`${run}.s.t.2`]);
  await other.report(again);
  await until(person, run, statusIs(RunStatus.SUCCEEDED));
});

test("the name of a task with variants skips all that no agent has, and tells which those are", async () => {
  const { person, join: enter } = await start(tempDir(), "a");
  const { agent } = await enter();
  const run = await submitText(
    person,
    "name: p\nstages: { s: { tasks: { t: { run: x, cache: false, shards: 3 } } } }\n",
  );
  const assign = await agent.nextAssign();
  const { tasks } = await until(person, run, (state) => state.tasks.some((task) => task.status === TaskStatus.RUNNING));
  const names = tasks.map(({ stage, name }) => `${stage}/${name}`);
  const running = names.filter((name) => assign.executionId === `${run}.${name.replace("/", ".")}`);
  expect(running).toHaveLength(1);
  const skipped = await person.runs.skipTask({ run, task: "t" });
  expect(skipped).toMatchObject({ running, tasks: names.filter((name) => !running.includes(name)) });
  await agent.report(assign);
  await until(person, run, statusIs(RunStatus.SUCCEEDED));
});

/** Sends the output of an attempt, which goes on. */
async function writeLog({ logs }: Clients, { executionId, attempt }: Assign, text: string): Promise<void> {
  async function* chunks() {
    yield { executionId, attempt, offset: 0n, data: Buffer.from(text), finish: true };
  }
  for await (const answer of logs.appendLog(chunks())) expect(answer.finished).toBe(true);
}

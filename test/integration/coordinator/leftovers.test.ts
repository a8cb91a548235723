import { join } from "node:path";
import Database from "better-sqlite3";
import { expect, onTestFinished, test, vi } from "vitest";
import { busAgent } from "../../support/bus-agent.ts";
import { startTestCoordinator } from "../../support/coordinator.ts";
import { submitText, work } from "../../support/runs.ts";
import { tempDir } from "../../support/temp-dir.ts";

const pipeline = "name: p\nstages: { s: { tasks: { t: { run: echo hi } } } }\n";

test("an execution whose task had ended when the coordinator fell is forgotten at its next start", async () => {
  const data = tempDir();
  const coordinator = await startTestCoordinator(data);
  const database = new Database(join(data, "coordinator.db"));
  onTestFinished(() => void database.close());
  const executions = () => database.prepare("SELECT id FROM execution").pluck().all();
  // The end of the task is written, the forgetting is not: what a kill between the two leaves.
  const refusal = "BEGIN SELECT RAISE(FAIL, 'on purpose'); END";
  database.exec(`CREATE TRIGGER fallen BEFORE DELETE ON execution ${refusal}`);

  const machine = await coordinator.asAgent("a");
  const agent = await busAgent(await coordinator.connectBus(), { id: "a" });
  await machine.agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  const person = coordinator.as("admin");
  const run = await submitText(person, pipeline);
  await work(agent, machine, await agent.nextAssign(), "hi\n");
  for await (const _ of person.runs.watchRun({ run })); // to its end
  await coordinator.stop();
  expect(executions()).toEqual([`${run}.s.t`]);

  database.exec("DROP TRIGGER fallen");
  const next = await startTestCoordinator(data);
  await vi.waitFor(() => expect(executions()).toEqual([]), { timeout: 10_000 });
  expect((await next.as("admin").runs.getRun({ run })).run?.tasks[0]?.attempts).toBe(1);
});

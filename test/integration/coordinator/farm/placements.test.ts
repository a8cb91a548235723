import { expect, onTestFinished, test } from "vitest";
import {
  executionSchema,
  placedOn,
  sqliteExecutionTable,
} from "../../../../coordinator/farm/scheduler/execution-table.ts";
import { limits } from "../../../../shared/limits.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { execution } from "../../../support/scheduler-farm.ts";
import { tempDir } from "../../../support/temp-dir.ts";

async function setup() {
  const sqlite = await openSqlite({ path: `${tempDir()}/t.db`, schema: [executionSchema] });
  onTestFinished(() => sqlite.close());
  const table = sqliteExecutionTable(sqlite);
  const waiting = { attempts: 0, lease: undefined, outcome: undefined };
  return {
    sqlite,
    table,
    insert: (id: string, runsAs = id) => table.insert(execution(id), { ...waiting, runsAs }),
    lease: (ids: string[], attempt: number, agentId: string, number = attempt) =>
      table.lease(ids, attempt, { agentId, attempt, epoch: { term: 1, number } }),
    agentOf: (executionId: string, attempt: number) => placedOn(sqlite, { executionId, attempt }),
  };
}

test("each attempt is known by its agent, also after the next one was placed and the execution is forgotten", async () => {
  const { table, insert, lease, agentOf } = await setup();
  await insert("x");
  await insert("y", "x"); // shares the execution
  await lease(["y"], 1, "a"); // the one who asked first has gone
  await table.lease(["y"], 1, undefined);
  expect(await agentOf("x", 1)).toBe("a");
  await lease(["y"], 2, "b");
  await table.remove("x");
  await table.remove("y");
  expect([await agentOf("x", 1), await agentOf("x", 2), await agentOf("y", 2)]).toEqual(["a", "b", undefined]);
});

test("an attempt that one agent refused is that of the agent that took it", async () => {
  const { insert, lease, agentOf } = await setup();
  await insert("x");
  await lease(["x"], 1, "a");
  await lease(["x"], 1, "b");
  expect(await agentOf("x", 1)).toBe("b");
});

test("no more placements are kept than there is room for, and the oldest go first", async () => {
  const { sqlite, insert, lease, agentOf } = await setup();
  await insert("x");
  await lease(["x"], 1, "a");
  await insert("z");
  // As if as many as are kept had come in between.
  await sqlite.write([{ sql: "UPDATE placement SET number = number - ?", params: [limits.placementsKept] }]);
  await lease(["z"], 1, "b", limits.placementsSwept - 1);
  expect(await agentOf("x", 1)).toBe("a");
  await sqlite.write([
    { sql: "UPDATE placement SET number = number + ? WHERE agent = 'b'", params: [limits.placementsKept] },
  ]);
  await lease(["z"], 2, "b", limits.placementsSwept);
  expect([await agentOf("x", 1), await agentOf("z", 1), await agentOf("z", 2)]).toEqual([undefined, "b", "b"]);
});

import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 2, slots: 4 });
});
afterAll(() => farm.remove());

it("a pipeline of 12 stages and 300 tasks runs to its end, and its state is the same when it is rebuilt from the log", async () => {
  const large = join(import.meta.dirname, "fixtures/large");
  const running = farm.startCli(["run", large, "--param", "level=full"]);
  const [, run = ""] = /(run_\d+)/.exec(await running.line(/submitted as/)) ?? [];
  await running.line(/^explore\/approval.*waits: a person has to decide/);
  expect((await farm.cli(["approve", run, "explore", "--check-all"])).status).toBe(0);
  const { status, stdout } = await running.result;
  expect(stdout).toMatch(new RegExp(`^${run} succeeded in `, "m"));
  expect(status).toBe(0);

  const shown = await farm.cli(["show", run, "--json"]);
  const { tasks }: { tasks: { stage: string; name: string; status: string }[] } = JSON.parse(shown.stdout);
  expect(new Set(tasks.map(({ stage }) => stage)).size).toBe(12);
  expect(tasks.filter(({ name }) => !name.startsWith("found-"))).toHaveLength(300);
  const skipped = tasks.filter((task) => task.status !== "succeeded");
  expect(skipped.map(({ name, status: how }) => `${name} ${how}`)).toEqual(["announce skipped", "tell skipped"]);

  const rebuilt = await farm.cli(["admin", "rebuild", "--json"]);
  expect(JSON.parse(rebuilt.stdout)).toMatchObject({ runs: 1, changed: 0 });
}, 240_000);

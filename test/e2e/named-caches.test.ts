import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
});
afterAll(() => farm.remove());

it("keeps a named folder between tasks, out of outputs and of the key, and untouched by a task that fails", async () => {
  const dir = project({
    "millrace.yaml": `name: shop
defaults: { caches: { packages: .packages } }
stages:
  build:
    tasks:
      fetch:
        run: |
          mkdir out && ls .packages > out/found
          cat out/found
          touch .packages/$(cat wanted)
          cat wanted | grep -v bad
        inputs: [wanted]
        outputs: { found: out/ }
`,
    wanted: "left-pad\n",
  });
  const run = async (wanted: string) => {
    writeFileSync(join(dir, "wanted"), `${wanted}\n`);
    const { run: name, status, tasks } = await farm.run(dir);
    const { stdout } = await farm.cli(["logs", name, "fetch"]);
    return { name, status, cached: tasks[0]?.cached, log: stdout };
  };
  const first = await run("left-pad");
  expect(first).toMatchObject({ status: "succeeded", cached: false, log: "left-pad\n" });
  expect(await run("right-pad")).toMatchObject({ cached: false, log: "left-pad\nright-pad\n" });
  // What is in the folder is not part of the key, so what ran once is answered from the action cache.
  expect(await run("left-pad")).toMatchObject({ status: "succeeded", cached: true, log: "left-pad\n" });
  expect(await run("bad")).toMatchObject({ status: "failed", log: "left-pad\nright-pad\n" });
  const last = await run("mid-pad");
  expect(last).toMatchObject({ status: "succeeded", log: "left-pad\nright-pad\nmid-pad\n" });

  const found = await farm.cli(["artifacts", last.name, "found", "--output", join(dir, "found")]);
  expect(found.status).toBe(0);
  const { stdout } = await farm.cli(["artifacts", last.name, "--json"]);
  expect(JSON.parse(stdout).artifacts).toMatchObject([{ name: "found" }]);

  // Named otherwise it is another task, and begins with an empty folder.
  const text = `name: shop
stages: { build: { tasks: { fetch: { run: "ls .packages", inputs: [wanted], caches: { other: .packages } } } } }
`;
  writeFileSync(join(dir, "millrace.yaml"), text);
  expect(await run("mid-pad")).toMatchObject({ status: "succeeded", cached: false, log: "" });
});

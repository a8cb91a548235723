import { afterAll, beforeAll, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 4 });
});
afterAll(() => farm.remove());

const pipeline = `name: p
stages:
  verify:
    tasks:
      discover: { run: "cp tasks.yaml $MILLRACE_GENERATE", inputs: [tasks.yaml], generates: true }
      nothing: { run: "echo there is nothing to add", inputs: [], generates: true }
  publish:
    needs: [verify]
    tasks:
      upload: { run: echo up, inputs: [] }
`;
/** The second of them writes another one. */
const tasks = `tasks:
  test-cli: { run: echo testing, inputs: [] }
  test-core:
    inputs: []
    generates: true
    run: |
      echo 'tasks: { deep: { run: "echo deeper", inputs: [] } }' > $MILLRACE_GENERATE
`;

it("tasks that tasks write run before what needs their stage, come from the cache like the rest, and are in every view", async () => {
  const dir = project({ "millrace.yaml": pipeline, "tasks.yaml": tasks });
  const cli = farm.startCli(["run", dir]);
  await cli.line(/^verify\/discover.*added test-cli, test-core/);
  const { status, stdout } = await cli.result;
  expect(status).toBe(0);
  const ended = [...stdout.matchAll(/^(\S+) +│ succeeded/gm)].map(([, task]) => task);
  expect(ended).toHaveLength(6);
  expect(ended.at(-1)).toBe("publish/upload");

  const again = await farm.run(dir);
  expect(again.tasks.map(({ stage, name, cached }) => `${stage}/${name} ${cached}`)).toEqual([
    "verify/discover true",
    "verify/test-cli true",
    "verify/test-core true",
    "verify/deep true",
    "verify/nothing true",
    "publish/upload true",
  ]);
  const flow = await farm.cli(["flow", "--run", again.run, "--json"]);
  expect(JSON.parse(flow.stdout)).toMatchObject({ run: again.run });
});

it("what cannot be planned fails the task that wrote it, with every problem", async () => {
  const wrong = "tasks:\n  a: { run: x, neds: [b] }\n  b: { run: x, needs: [c] }\n";
  const run = await farm.run(project({ "millrace.yaml": pipeline, "tasks.yaml": wrong }));
  expect(run.exitStatus).toBe(1);
  const ending = run.tasks.find(({ name }) => name === "discover")?.ending;
  expect(ending).toContain('.millrace-generated.yaml of verify/discover:2:16: unknown key "neds"');
  expect(ending).toContain('.millrace-generated.yaml of verify/discover:3:24: there is no task "c"');
});

import { once } from "node:events";
import { globSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { afterAll, beforeAll, expect, it, onTestFinished } from "vitest";
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

const program = `import { definePipeline, type Task } from "millrace";
import { names } from "./.millrace/names.ts";
console.log("evaluated");
const echo = (text: string): Task => ({ run: \`echo \${text}\`, inputs: [] });
export default definePipeline({
  name: "typed",
  stages: {
    verify: {
      tasks: {
        ...Object.fromEntries(names.map((name) => [name, echo(name)])),
        discover: { run: "cp tasks.yaml $MILLRACE_GENERATE", inputs: ["tasks.yaml"], generates: true },
      },
    },
    publish: { needs: ["verify"], tasks: { upload: echo("up") } },
  },
});
`;
const files = {
  "millrace.ts": program,
  ".millrace/names.ts": 'export const names: readonly string[] = ["core", "cli"];',
  "tasks.yaml": "tasks:\n  late: { run: echo late, inputs: [] }\n",
};

it("a pipeline in TypeScript is evaluated by an agent, once for the same inputs, and planned like any other", async () => {
  const starts = () => farm.processStarts().filter((line) => line.includes("evaluation-")).length;
  const first = await farm.cli(["run", project(files)]);
  expect(first.stderr).toMatch(/^the pipeline file is evaluated: agent-1$/m);
  const ended = [...first.stdout.matchAll(/^(\S+) +│ succeeded/gm)].map(([, task]) => task);
  const verified = ["cli", "core", "discover", "late"].map((name) => `verify/${name}`);
  expect(new Set(ended)).toEqual(new Set([...verified, "publish/upload"]));
  expect(starts()).toBe(1);

  const again = await farm.run(project({ ...files, "other.txt": "no input of the program" }));
  expect(again.tasks.map(({ name, cached }) => `${name} ${cached}`)).toEqual(
    ["core", "cli", "discover", "late", "upload"].map((name) => `${name} true`),
  );
  expect(starts()).toBe(1);
  const more = { ...files, ".millrace/names.ts": 'export const names = ["core"];' };
  expect((await farm.run(project(more))).tasks.map(({ name }) => name)).not.toContain("cli");
  expect(starts()).toBe(2);
  expect(globSync("coordinator/logs/evaluation-*", { cwd: farm.dataDir })).toEqual([]);
});

it("what is wrong with a pipeline in TypeScript is said before there is a run: what it gave by its keys, what it threw by its lines", async () => {
  const refused = async (text: string) => {
    const { status, stderr } = await farm.cli(["run", project({ ...files, "millrace.ts": text })]);
    expect(status, stderr).toBe(2);
    return stderr;
  };
  expect(await refused(program.replace('needs: ["verify"]', 'needs: ["verifi"]'))).toContain(
    'millrace.ts: stages.publish.needs[0]: there is no stage "verifi"\n  hint: did you mean "verify"?',
  );
  const throwing = "function deep(): never {\n  throw new Error('on purpose');\n}\nexport default () => deep();\n";
  expect(await refused(throwing)).toMatch(
    /millrace\.ts:2:9: Error: on purpose\n {4}at deep \(millrace\.ts:2:9\)\n {4}at [^\n]*millrace\.ts:4:22/,
  );
});

it("an evaluation reaches no network, not even this machine's", async () => {
  let connections = 0;
  const server = createServer((socket) => void ((connections += 1), socket.end())).listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const text = `import { connect } from "node:net";
import { once } from "node:events";
await once(connect(${port}, "127.0.0.1"), "connect");
export default { name: "p", stages: { s: { tasks: { t: { run: "true", inputs: [] } } } } };`;
  const { status, stdout, stderr } = await farm.cli(["run", project({ "millrace.ts": text }), "--json"]);
  if (status === 0) return expect(stdout).toContain('"sandbox":"none"'); // where nothing can take it away
  expect(stderr).toContain(`Error: connect ECONNREFUSED 127.0.0.1:${port}`);
  expect(connections).toBe(0);
});

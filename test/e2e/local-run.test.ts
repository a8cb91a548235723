import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cliEnvironment, project, type RunResult, startCli } from "../support/farm.ts";
import { processesAbout } from "../support/process-state.ts";
import { tempDir } from "../support/temp-dir.ts";

const endless = "sleep 3600";

/** Runs of one user who has no farm; their data is in `cache`. */
function user() {
  const dir = tempDir();
  const call = (source: string, ...args: string[]) =>
    startCli(["run", source, "--local", ...args], cliEnvironment(dir));
  return {
    cache: join(dir, "cache"),
    hasFarms: (...names: string[]) => names.every((name) => existsSync(join(dir, "cache", "millrace", name))),
    start: call,
    async run(source: string, ...args: string[]) {
      const { status, stdout, stderr } = await call(source, "--json", ...args).result;
      expect(stdout, stderr).not.toBe("");
      return { ...(JSON.parse(stdout) as RunResult), exitStatus: status, stderr };
    },
  };
}

function pipeline(tasks: Readonly<Record<string, string>>): string {
  const lines = Object.entries(tasks).map(([name, run]) => `      ${name}: { run: "${run}" }\n`);
  return project({ "millrace.yaml": `name: p\nstages:\n  a:\n    tasks:\n${lines.join("")}` });
}

it("runs at the same time have a farm each, and Ctrl-C cancels a run and ends all of its farm", async () => {
  const { cache, hasFarms, start, run } = user();
  const source = pipeline({ wait: endless });
  const first = start(source);
  await first.line(/a farm of its own was ready in \d/);
  await first.line(/started on agent-1/);
  expect(hasFarms("local-2")).toBe(false);

  const second = await run(pipeline({ fails: "exit 7" }));
  expect(second).toMatchObject({ exitStatus: 1, status: "failed" });
  expect(hasFarms("local", "local-2")).toBe(true);

  first.process.kill("SIGINT");
  const { status, stderr } = await first.result;
  expect(status, stderr).toBe(3);
  expect(processesAbout(cache)).toEqual([]);
});

it("after a kill -9, the next run ends what was left, and has the results that were kept", async () => {
  const { cache, hasFarms, start, run } = user();
  const source = pipeline({ quick: "echo done", wait: endless });
  const first = start(source);
  await first.line(/quick.*succeeded/);
  first.process.kill("SIGKILL");
  await first.result;

  const second = await run(source, "--task", "quick");
  expect(second).toMatchObject({ exitStatus: 0, run: "run_2", tasks: [{ name: "quick", cached: true }] });
  expect(second.stderr).toContain("cancelled run_1, left behind by a call that was ended");
  expect(hasFarms("local-2")).toBe(false);
  expect(processesAbout(cache)).toEqual([]);
});

it("init writes a sound pipeline in TypeScript, and validate evaluates it without a farm", async () => {
  const env = cliEnvironment(tempDir());
  const call = (...args: string[]) => startCli(args, env).result;
  const source = project({ "package.json": '{ "name": "shop", "scripts": { "test": "node --test" } }' });
  expect((await call("init", "--ts", source)).stdout).toContain("millrace.ts for a project of the kind npm");
  expect(existsSync(join(source, ".millrace/millrace.d.ts"))).toBe(true);
  expect((await call("init", source)).stderr).toContain("millrace.ts is there already");
  const { stdout, stderr } = await call("validate", source);
  expect(stderr).toBe("");
  expect(stdout).toMatch(/millrace\.ts is valid: 1 stage, 1 task\n$/);
});

it("graph says where a pipeline in TypeScript throws", async () => {
  const source = project({ "millrace.ts": "\nthrow new Error('no');" });
  const { status, stderr } = await startCli(["graph", source], cliEnvironment(tempDir())).result;
  expect(status).toBe(2);
  expect(stderr).toContain(`${join(source, "millrace.ts")}:2:7: Error: no`);
});

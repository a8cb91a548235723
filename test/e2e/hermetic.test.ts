import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, type RunningCli, startFarm, type TestFarm } from "../support/farm.ts";
import { millrace } from "../support/program.ts";

// Tools that agents announce, and what a task can see and change.

let farm: TestFarm;
let agent: RunningCli;
const toolFolder = () => join(farm.dataDir, "..", "tools");

/** A program of this version, in the place of the one before. */
function installTool(version: string): void {
  const file = join(toolFolder(), "squeeze");
  writeFileSync(file, `#!/bin/sh\necho "squeeze version ${version}"\n`);
  chmodSync(file, 0o755);
}

beforeAll(async () => {
  farm = await startFarm({ agents: 1, env: { MILLRACE_ONLY_NAMED_TOOLS: "false" } });
  mkdirSync(toolFolder());
  installTool("1.4.0");
  agent = farm.startCli([
    ...["agent", "--coordinator", farm.grpc, "--token-file", join(farm.dataDir, "coordinator/tokens/agent")],
    ...["--data", join(farm.dataDir, "..", "own"), "--name", "own", "--json"],
    ...["--tool", `squeeze=${join(toolFolder(), "squeeze")}`],
  ]);
  await agent.line(/online/);
});
afterAll(async () => {
  agent.process.kill("SIGTERM");
  await agent.result;
  await farm.remove();
});

const pipeline = (task: string) => ({ "millrace.yaml": `name: p\nstages:\n  a:\n    tasks:\n      t: ${task}\n` });

interface KnownAgent {
  readonly features: readonly string[];
  readonly tools: readonly { readonly name: string; readonly version: string }[];
}

async function knownAgents(): Promise<readonly KnownAgent[]> {
  const { stdout } = await farm.cli(["agents", "--json"]);
  return (JSON.parse(stdout) as { agents: readonly KnownAgent[] }).agents;
}

/** Resolves once the coordinator knows a tool of this version. */
async function announced(version: string): Promise<void> {
  for (;;) {
    const tools = (await knownAgents()).flatMap((agent) => agent.tools);
    if (tools.some((tool) => tool.name === "squeeze" && tool.version === version)) return;
  }
}

describe("a task that names its tools", () => {
  it("runs where they are, is cached, and runs again when one was replaced by another version", async () => {
    expect((await knownAgents()).flatMap(({ tools }) => tools.map(({ name }) => name))).toContain("git");
    const dir = project(pipeline('{ run: "squeeze", tools: { squeeze: "1" } }'));
    const first = await farm.run(dir);
    expect(first.tasks).toMatchObject([{ status: "succeeded", cached: false, agent: "own" }]);
    expect((await farm.run(dir)).tasks).toMatchObject([{ cached: true }]);
    installTool("1.5.2");
    await announced("1.5.2");
    const changed = await farm.run(dir);
    expect(changed.tasks).toMatchObject([{ status: "succeeded", cached: false, agent: "own" }]);
    expect((await farm.cli(["logs", changed.run])).stdout).toContain("squeeze version 1.5.2");
    expect((await farm.run(dir)).tasks).toMatchObject([{ cached: true }]);
  });

  it("is refused with what there is when no agent has them", async () => {
    const refused = await farm.cli(["run", project(pipeline('{ run: "squeeze", tools: { squeeze: "7" } }'))]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("millrace.yaml:5:37: no connected agent offers squeeze 7");
    expect(refused.stderr).toMatch(/they have squeeze 1\.\d/);
  });
});

describe("a task", () => {
  it("says between which walls it ran, and what it cost", async () => {
    const { run, tasks } = await farm.run(
      project(pipeline('{ run: "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done" }')),
    );
    const features = (await knownAgents()).flatMap((each) => each.features);
    const sandbox = features.includes("sandbox:bubblewrap") ? "bubblewrap" : "none";
    expect(tasks).toMatchObject([{ status: "succeeded", sandbox }]);
    if (sandbox === "bubblewrap") expect(tasks).toMatchObject([{ containment: "full" }]);
    if (features.includes("containment:cgroup-v2")) expect(tasks[0]?.cpuMs).toBeGreaterThan(5);
    expect((await farm.cli(["show", run])).stdout).toMatch(/CPU +MEMORY +AGENT +SANDBOX/);
  });

  it("fails when it reads a file that it did not declare, by whatever path", async () => {
    const dir = project({
      ...pipeline(
        `{ run: "cat declared; cat hidden.txt ${join(farm.dataDir, "credentials.json")}", inputs: [declared] }`,
      ),
      declared: "declared\n",
      "hidden.txt": "secret of the source\n",
    });
    const { run, tasks } = await farm.run(dir);
    expect(tasks).toMatchObject([{ status: "failed", exit: 1 }]);
    const { stdout } = await farm.cli(["logs", run]);
    expect(stdout).toContain("declared\n");
    expect(stdout).not.toContain("secret of the source");
    if (tasks[0]?.sandbox === "bubblewrap") expect(stdout).not.toContain(farm.token);
  });

  it("that appends to an input changes neither the store nor a later task", async () => {
    const input = "first\n";
    const text = (more: string) => pipeline(`{ run: "${more} cat a.txt", inputs: [a.txt] }`);
    const appends = await farm.run(project({ ...text("chmod u+w a.txt; echo second >> a.txt;"), "a.txt": input }));
    expect((await farm.cli(["logs", appends.run])).stdout).toMatch(/first\n.*second\n/);
    // Several, so that both agents had one.
    for (const word of ["one", "two", "three", "four"]) {
      const after = await farm.run(project({ ...text(`echo ${word};`), "a.txt": input }));
      expect(after.status).toBe("succeeded");
      const { stdout } = await farm.cli(["logs", after.run]);
      expect(stdout).toContain("first");
      expect(stdout).not.toContain("second");
    }
  });
});

describe("a pipeline that runs itself", () => {
  it("ends at the second farm inside of another, and says why", async () => {
    // Without a sandbox, which shows a task nothing of a checkout below /tmp.
    const open = farm.startCli([
      ...["agent", "--coordinator", farm.grpc, "--token-file", join(farm.dataDir, "coordinator/tokens/agent")],
      ...["--data", join(farm.dataDir, "..", "open"), "--sandbox", "none", "--label", "walls=none", "--json"],
    ]);
    await open.line(/online/);
    const again = `MILLRACE_SANDBOX=none ${millrace} run --local`;
    const dir = project({
      ...pipeline(`{ run: "${again} inner", inputs: ["inner/**"], agents: { walls: none } }`),
      "inner/millrace.yaml": pipeline(`{ run: "${again} .", inputs: [millrace.yaml] }`)["millrace.yaml"],
    });
    const { status, stdout } = await farm.cli(["run", dir]);
    expect(status).toBe(1);
    expect(stdout).toContain("this would be a farm inside of 2 others (MILLRACE_NESTING=2)");
    open.process.kill("SIGTERM");
    await open.result;
  });
});

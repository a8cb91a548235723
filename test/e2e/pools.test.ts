import { existsSync, readdirSync, realpathSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { processesAbout } from "../support/process-state.ts";
import { tempDir } from "../support/temp-dir.ts";

const millrace = resolve(import.meta.dirname, "../../bin/millrace");
const example = resolve(import.meta.dirname, "../../examples/pools/processes.py");

async function farmWithoutAgents(): Promise<TestFarm> {
  const farm = await startFarm({ agents: 0 });
  onTestFinished(() => farm.remove());
  return farm;
}

/** Tasks come to it and wait; it lets them go when so many are there at a time, and all that come later at once. */
async function barrier(count: number) {
  const waiting: Socket[] = [];
  const full = Promise.withResolvers<void>();
  let isOpen = false;
  const server = createServer((socket) => {
    socket.on("error", () => undefined); // the task was ended
    if (isOpen) return socket.end("go\n");
    waiting.push(socket);
    if (waiting.length === count) full.resolve();
    return undefined;
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return {
    port: typeof address === "object" ? address?.port : undefined,
    full: full.promise,
    open() {
      isOpen = true;
      for (const socket of waiting) socket.end("go\n");
    },
  };
}

/** So many tasks for the pool that come to the barrier. */
function load(count: number, port: number | undefined): string {
  const wait = `bash -c 'read -r word < /dev/tcp/127.0.0.1/${port}; echo $word'`;
  const tasks = Array.from({ length: count }, (_, index) => {
    return `      t${index}: { run: "${wait}", cache: false, agents: { pool: burst } }`;
  });
  return project({ "millrace.yaml": ["name: load", "stages:", "  a:", "    tasks:", ...tasks, ""].join("\n") });
}

interface PoolShown {
  readonly ready: number;
  readonly starting: number;
  readonly leaving: number;
  readonly wanted: number;
}

async function pool(farm: TestFarm): Promise<PoolShown | undefined> {
  const { pools } = JSON.parse((await farm.cli(["pools", "--json"])).stdout) as { pools: PoolShown[] };
  return pools[0];
}

async function agentsOf(farm: TestFarm): Promise<string[]> {
  const { agents } = JSON.parse((await farm.cli(["agents", "--json"])).stdout) as { agents: { id: string }[] };
  return agents.map(({ id }) => id);
}

async function set(farm: TestFarm, ...args: string[]): Promise<void> {
  const { status, stderr } = await farm.cli(["pools", "set", "burst", ...args]);
  expect(status, stderr).toBe(0);
}

/** Back to none: no agent, no process, no folder. */
async function untilEmpty(farm: TestFarm, folder: string): Promise<void> {
  await vi.waitFor(
    async () => {
      expect(await pool(farm)).toMatchObject({ ready: 0, starting: 0, leaving: 0, wanted: 0 });
      expect(await agentsOf(farm)).toEqual([]);
    },
    { timeout: 40_000, interval: 300 },
  );
  expect(processesAbout(folder)).toEqual([]);
  expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
}

const quick = ["--target-wait", "1s", "--idle-timeout", "2s"];

describe("a pool", () => {
  it.each([
    {
      name: "local-process",
      provider: (farm: TestFarm) => ({ flags: [], folder: join(farm.dataDir, "coordinator/pools/burst") }),
    },
    {
      name: "exec",
      provider: () => {
        const folder = realpathSync(tempDir());
        return { flags: ["--command", example, folder, millrace], folder };
      },
    },
  ])(
    "goes by $name from 0 to 8 agents and back, and every task succeeds",
    async ({ name, provider }) => {
      const farm = await farmWithoutAgents();
      const { flags, folder } = provider(farm);
      await set(farm, "--provider", name, "--max", "8", ...quick, ...flags);
      const gate = await barrier(8);
      const running = farm.run(load(12, gate.port));
      await gate.full; // eight tasks at a time, which takes eight agents
      expect(await pool(farm)).toMatchObject({ wanted: 8 });
      gate.open();
      const { status, tasks, exitStatus } = await running;
      expect([status, exitStatus]).toEqual(["succeeded", 0]);
      expect(tasks.map((task) => task.status)).toEqual(tasks.map(() => "succeeded"));
      await untilEmpty(farm, folder);
    },
    120_000,
  );

  it("finds its processes again when the coordinator was killed, and none of them twice", async () => {
    const farm = await farmWithoutAgents();
    const folder = join(farm.dataDir, "coordinator/pools/burst");
    await set(farm, "--provider", "local-process", "--max", "2", ...quick);
    const gate = await barrier(2);
    const running = farm.run(load(3, gate.port));
    await gate.full;
    const before = (await agentsOf(farm)).sort();
    process.kill(pidOf(farm, "coordinator"), "SIGKILL");
    await farm.problem(/coordinator.* was ended by SIGKILL; starting it again/);
    await vi.waitFor(async () => expect(await pool(farm)).toMatchObject({ ready: 2 }), { timeout: 20_000 });
    expect((await agentsOf(farm)).sort()).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(before);
    gate.open();
    const { status, tasks } = await running;
    expect(status).toBe("succeeded");
    expect(tasks.map(({ attempts }) => attempts)).toEqual([1, 1, 1]);
    expect(tasks.every(({ agent }) => before.includes(agent ?? ""))).toBe(true);
    await untilEmpty(farm, folder);
  }, 90_000);

  it("gives each task an agent of its own when it is ephemeral, and ends with the farm", async () => {
    const farm = await farmWithoutAgents();
    const folder = join(farm.dataDir, "coordinator/pools/burst");
    await set(farm, "--provider", "local-process", "--max", "2", "--ephemeral", ...quick);
    const gate = await barrier(2);
    const running = farm.run(load(4, gate.port));
    await gate.full;
    const first = await agentsOf(farm);
    gate.open();
    const { status, tasks } = await running;
    expect(status).toBe("succeeded");
    expect(new Set(tasks.map(({ agent }) => agent)).size).toBe(4);
    await untilEmpty(farm, folder);
    expect(first).toHaveLength(2);

    await set(farm, "--min", "1", "--no-ephemeral");
    await vi.waitFor(async () => expect(await pool(farm)).toMatchObject({ ready: 1 }), { timeout: 20_000 });
    expect(processesAbout(folder)).not.toEqual([]);
    expect(await farm.stop()).toBe(0);
    expect(processesAbout(folder)).toEqual([]);
  }, 90_000);

  it("says why a task waits for it, and what its provider says when it fails", async () => {
    const farm = await farmWithoutAgents();
    const failing = join(project({ "no-quota.sh": "#!/bin/sh\n" }), "no-quota.sh");
    const refused = await farm.cli(["pools", "set", "burst", "--provider", "exec", "--command", failing, "--max", "3"]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("cannot be executed by the coordinator");
    await set(farm, "--provider", "exec", "--command", "/bin/false", "--max", "3");
    const cli = farm.startCli(["run", load(1, 1)]);
    await cli.line(/run_1/);
    await vi.waitFor(
      async () => {
        const { stdout } = await farm.cli(["why", "run_1"]);
        expect(stdout).toContain("pool-scaling");
        expect(stdout).toContain("pool burst: 0 of 1 wanted agents take work, 0 starting, at most 3");
        expect(stdout).toContain("/bin/false list: exited with 1");
      },
      { timeout: 20_000, interval: 200 },
    );
    expect((await farm.cli(["pools"])).stdout).toContain("/bin/false list: exited with 1");
    expect((await farm.cli(["cancel", "run_1"])).status).toBe(0);
    await cli.result;
    expect((await farm.cli(["pools", "remove", "burst"])).status).toBe(0);
    await vi.waitFor(async () => expect(await pool(farm)).toBeUndefined(), { timeout: 20_000, interval: 200 });
  }, 60_000);
});

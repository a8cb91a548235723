import { existsSync, readdirSync, realpathSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { createClient } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { type Pool, PoolService } from "../../proto/gen/millrace/v1/pool_pb.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { project, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { processesAbout } from "../support/process-state.ts";
import { millrace } from "../support/program.ts";
import { tempDir } from "../support/temp-dir.ts";

const example = resolve(import.meta.dirname, "../../examples/pools/processes.py");

// One farm for all tests, of which the last one ends it; each leaves it without a pool.
let farm: TestFarm;
let transport: ReturnType<typeof grpcTransport>;

beforeAll(async () => {
  farm = await startFarm({ agents: 0 });
  transport = grpcTransport({ address: farm.grpc, token: farm.token });
});
afterAll(async () => {
  transport.close();
  await farm.remove();
});

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

async function pool(): Promise<Pool | undefined> {
  return (await createClient(PoolService, transport).listPools({})).pools[0];
}

async function agentsOf(): Promise<string[]> {
  const { agents } = await createClient(AgentService, transport).listAgents({});
  return agents.map(({ info }) => info?.id ?? "").sort();
}

async function set(...args: string[]): Promise<void> {
  const { status, stderr } = await farm.cli(["pools", "set", "burst", ...args]);
  expect(status, stderr).toBe(0);
}

const often = { timeout: 40_000, interval: 50 };

/** Back to none: no agent, no process, no folder; then the pool is taken away. */
async function untilEmpty(folder: string): Promise<void> {
  await vi.waitFor(async () => {
    expect(await pool()).toMatchObject({ ready: 0, starting: 0, leaving: 0, wanted: 0 });
    expect(await agentsOf()).toEqual([]);
    expect(processesAbout(folder)).toEqual([]); // the provider's own command names it, too, while it is asked
    expect(existsSync(folder) ? readdirSync(folder) : []).toEqual([]);
  }, often);
}

async function removePool(): Promise<void> {
  expect((await farm.cli(["pools", "remove", "burst"])).status).toBe(0);
  await vi.waitFor(async () => expect(await pool()).toBeUndefined(), often);
}

const quick = ["--target-wait", "1s", "--idle-timeout", "1s"];

describe("a pool", () => {
  it.each([
    {
      name: "local-process",
      provider: () => ({ flags: [], folder: join(farm.dataDir, "coordinator/pools/burst") }),
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
      const { flags, folder } = provider();
      await set("--provider", name, "--max", "8", ...quick, ...flags);
      const gate = await barrier(8);
      const running = farm.run(load(12, gate.port));
      await gate.full; // eight tasks at a time, which takes eight agents
      expect(await pool()).toMatchObject({ wanted: 8 });
      gate.open();
      const { status, tasks, exitStatus } = await running;
      expect([status, exitStatus]).toEqual(["succeeded", 0]);
      expect(tasks.map((task) => task.status)).toEqual(tasks.map(() => "succeeded"));
      await untilEmpty(folder);
      await removePool();
    },
    120_000,
  );

  it("finds its processes again when the coordinator was killed, and none of them twice", async () => {
    const folder = join(farm.dataDir, "coordinator/pools/burst");
    await set("--provider", "local-process", "--max", "2", ...quick);
    const gate = await barrier(2);
    const running = farm.run(load(3, gate.port));
    await gate.full;
    const before = await agentsOf();
    process.kill(pidOf(farm, "coordinator"), "SIGKILL");
    await farm.problem(/coordinator.* was ended by SIGKILL; starting it again/);
    await vi.waitFor(async () => expect(await pool()).toMatchObject({ ready: 2 }), often);
    expect(await agentsOf()).toEqual(before);
    expect(readdirSync(folder).sort()).toEqual(before);
    gate.open();
    const { status, tasks } = await running;
    expect(status).toBe("succeeded");
    expect(tasks.map(({ attempts }) => attempts)).toEqual([1, 1, 1]);
    expect(tasks.every(({ agent }) => before.includes(agent ?? ""))).toBe(true);
    await untilEmpty(folder);
    await removePool();
  }, 90_000);

  it("says why a task waits for it, and what its provider says when it fails", async () => {
    const failing = join(project({ "no-quota.sh": "#!/bin/sh\n" }), "no-quota.sh");
    const refused = await farm.cli(["pools", "set", "burst", "--provider", "exec", "--command", failing, "--max", "3"]);
    expect(refused.status).toBe(2);
    expect(refused.stderr).toContain("cannot be executed by the coordinator");
    await set("--provider", "exec", "--command", "/bin/false", "--max", "3");
    const cli = farm.startCli(["run", load(1, 1)]);
    const [run = ""] = /run_\d+/.exec(await cli.line(/run_\d+/)) ?? [];
    await vi.waitFor(
      async () => {
        const { stdout } = await farm.cli(["why", run]);
        expect(stdout).toContain("pool-scaling");
        expect(stdout).toContain("pool burst: 0 of 1 wanted agents take work, 0 starting, at most 3");
        expect(stdout).toContain("/bin/false list: exited with 1");
      },
      { timeout: 20_000, interval: 200 },
    );
    expect((await farm.cli(["pools"])).stdout).toContain("/bin/false list: exited with 1");
    expect((await farm.cli(["cancel", run])).status).toBe(0);
    await cli.result;
    await removePool();
  }, 60_000);

  it("gives each task an agent of its own when it is ephemeral, and ends with the farm", async () => {
    const folder = join(farm.dataDir, "coordinator/pools/burst");
    await set("--provider", "local-process", "--max", "2", "--ephemeral", ...quick);
    const gate = await barrier(2);
    const running = farm.run(load(4, gate.port));
    await gate.full;
    const first = await agentsOf();
    gate.open();
    const { status, tasks } = await running;
    expect(status).toBe("succeeded");
    expect(new Set(tasks.map(({ agent }) => agent)).size).toBe(4);
    await untilEmpty(folder);
    expect(first).toHaveLength(2);

    await set("--min", "1", "--no-ephemeral");
    await vi.waitFor(async () => expect(await pool()).toMatchObject({ ready: 1 }), often);
    expect(processesAbout(folder)).not.toEqual([]);
    expect(await farm.stop()).toBe(0);
    await vi.waitFor(() => expect(processesAbout(folder)).toEqual([]), often); // the runner follows its agent
  }, 90_000);
});

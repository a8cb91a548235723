import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 1 });
});
afterAll(() => farm.remove());

/** What the commands of this file print with --json; each has some of it. */
interface Printed {
  readonly token: string;
  readonly tokens: readonly { readonly name: string }[];
  readonly agents: readonly { readonly state: string }[];
  readonly draining: boolean;
  readonly executions: readonly string[];
  readonly waiting: readonly { readonly task: string; readonly code: string; readonly detail: string }[];
  readonly tasks: readonly { readonly attempts: number; readonly agent: string }[];
  readonly run: string;
  readonly status: string;
  readonly healthy: boolean;
  readonly checks: readonly { readonly check: string; readonly status: string; readonly fix?: string }[];
}

const json = async (...args: string[]): Promise<Printed & { readonly exit: number | null }> => {
  const { status: exit, stdout } = await farm.cli([...args, "--json"]);
  return { ...(JSON.parse(stdout) as Printed), exit };
};
const stateOfAgent = async () => (await json("agents")).agents[0]?.state;
const pidOf = (part: string): number =>
  (JSON.parse(readFileSync(join(farm.dataDir, "pids", `${part}.json`), "utf8")) as { pid: number }).pid;

describe("tokens", () => {
  it("are given by an admin, do what their role may, and nothing after they were revoked", async () => {
    const { token } = await json("token", "create", "--role", "developer", "--name", "anna", "--ttl", "1h");
    const asAnna = (...args: string[]) => farm.cli([...args, "--address", farm.grpc, "--token", token]);
    expect((await asAnna("runs")).status).toBe(0);
    expect((await asAnna("token", "list")).status).toBe(3);
    expect((await json("token", "list")).tokens.map(({ name }) => name)).toContain("anna");
    expect((await farm.cli(["token", "revoke", "anna"])).status).toBe(0);
    expect((await asAnna("runs")).status).toBe(3);
    for (const log of ["coordinator.log", "agent-1.log"]) {
      expect(readFileSync(join(farm.dataDir, "logs", log), "utf8")).not.toContain(token);
    }
  });
});

describe("an agent that was told to drain", () => {
  it("is given nothing until it is resumed, also when it and the coordinator were killed in between", async () => {
    expect((await json("agents", "drain", "agent-1")).draining).toBe(true);
    const { run } = await json("run", project({ "millrace.yaml": pipeline }), "--detach");
    for (const part of ["agent-1", "coordinator"]) {
      process.kill(pidOf(part), "SIGKILL");
      await farm.problem(new RegExp(`${part}.*(ended|killed|again|SIGKILL)`));
    }
    await vi.waitFor(async () => expect(await stateOfAgent()).toBe("draining"), { timeout: 30_000 });
    expect((await json("show", run)).status).not.toBe("succeeded");
    expect((await json("agents", "resume", "agent-1")).draining).toBe(false);
    await vi.waitFor(async () => expect((await farm.cli(["show", run])).stdout).toContain("succeeded"), {
      timeout: 30_000,
    });
  });
});

describe("an agent with work", () => {
  it("finishes it when it is told to drain, and what comes after waits and says for what", async () => {
    const held = await heldTask();
    const { run } = await json("run", held.project, "--detach");
    const release = await held.begun();
    const next = await json("run", project({ "millrace.yaml": pipeline }), "--detach");
    const behind = [{ execution: `${run}.a.b`, agent: "agent-1" }];
    const queue = { position: 1, waiting: 1, slots: 1, slotsUsed: 1, behind };
    await vi.waitFor(
      async () => expect((await json("why", next.run)).waiting).toMatchObject([{ code: "agents-busy", queue }]),
      { timeout: 30_000 },
    );
    expect((await farm.cli(["why", next.run])).stdout).toContain(
      `1 of 1 in the queue; 1 of 1 slots taken, by ${run}.a.b on agent-1`,
    );
    expect((await json("agents", "drain", "agent-1")).executions).toEqual([`${run}.a.b`]);
    await vi.waitFor(
      async () => {
        const { waiting } = await json("why", next.run);
        expect(waiting).toMatchObject([
          { task: "a/b", code: "agent-draining", detail: expect.stringContaining("agent-1") },
        ]);
      },
      { timeout: 30_000 },
    );
    expect((await farm.cli(["why", next.run])).stdout).toContain("every agent is draining: agent-1");
    release();
    await succeeded(run);
    expect((await json("show", run)).tasks).toMatchObject([{ attempts: 1, agent: "agent-1" }]);
    expect((await json("why", next.run)).waiting).toHaveLength(1);
    await json("agents", "resume", "agent-1");
    await succeeded(next.run);
  }, 90_000);

  it("is not removed but by force, and then its work is placed again", async () => {
    const held = await heldTask();
    const { run } = await json("run", held.project, "--detach");
    await held.begun();
    const refused = await farm.cli(["agents", "remove", "agent-1"]);
    expect(refused.status).not.toBe(0);
    expect(refused.stderr).toContain(`agent-1 holds ${run}.a.b`);
    expect((await farm.cli(["agents", "remove", "agent-1", "--force"])).status).toBe(0);
    // It still runs, so it joins again, ends its first attempt and is given the second.
    const release = await held.begun();
    release();
    await succeeded(run);
    expect((await json("show", run)).tasks).toMatchObject([{ attempts: 2, agent: "agent-1" }]);
  }, 90_000);
});

describe("doctor", () => {
  it("finds a farm that works, and says in which check one that does not fails", async () => {
    const well = await json("doctor");
    expect(well.checks.filter(({ status }) => status === "failed")).toEqual([]);
    expect([well.exit, well.healthy]).toEqual([0, true]);
    const failedOf = async (...args: string[]) => {
      const { exit, checks } = await json("doctor", ...args);
      expect(exit).toBe(1);
      return checks.filter(({ status, fix }) => status === "failed" && fix !== undefined).map(({ check }) => check);
    };
    expect(await failedOf("--token", "mr_unknown")).toEqual(["token"]);
    expect(await failedOf("--address", "127.0.0.1:1", "--token", "mr_unknown")).toEqual(["coordinator"]);
  });
});

/** A project whose one task ends when the test says so. */
async function heldTask() {
  const begun: (() => void)[] = [];
  const server = createServer((_request, response) => {
    begun.push(() => void response.end());
    server.emit("begun");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    project: project({
      "millrace.yaml": `name: held\nstages:\n  a:\n    tasks:\n      b: { run: node hold.mjs, cache: false }\n`,
      "hold.mjs": `await fetch("http://127.0.0.1:${port}/");`,
    }),
    /** Resolves with its release when the task, or its next attempt, has begun. */
    async begun(): Promise<() => void> {
      while (begun.length === 0) await once(server, "begun");
      return begun.shift() ?? (() => {});
    },
  };
}

const succeeded = (run: string) =>
  vi.waitFor(async () => expect((await json("show", run)).status).toBe("succeeded"), { timeout: 30_000 });

const pipeline = `name: waits
stages:
  a:
    tasks:
      b: { run: echo b, cache: false }
`;

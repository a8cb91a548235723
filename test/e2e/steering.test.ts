import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
});
afterAll(() => farm.remove());

/** What the commands of this file print with --json; each has some of it. */
interface Printed {
  readonly token: string;
  readonly tokens: readonly { readonly name: string }[];
  readonly agents: readonly { readonly state: string }[];
  readonly draining: boolean;
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

const pipeline = `name: waits
stages:
  a:
    tasks:
      b: { run: echo b, cache: false }
`;

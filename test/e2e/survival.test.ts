import { existsSync, mkdtempSync, readFileSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { limits } from "../../shared/limits.ts";
import { cliEnvironment, project, startCli, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { isRunning, processesAbout } from "../support/process-state.ts";
import { tempDir } from "../support/temp-dir.ts";

async function farmIn(dir: string, agents = 1): Promise<TestFarm> {
  const farm = await startFarm({ agents, dir });
  onTestFinished(() => farm.remove());
  return farm;
}

function farmDir(): string {
  return mkdtempSync(join(tmpdir(), "millrace-farm-"));
}

/** A task that takes a while between its two lines: the test strikes in between. */
function slowProject(seconds = "4"): string {
  return project({
    "millrace.yaml": `name: slow
stages:
  a:
    tasks:
      b: { run: "echo before; sleep ${seconds}; echo after", cache: false }
`,
  });
}

describe("up", () => {
  it("stops everything it started, in order, and ends with 0", async () => {
    const farm = await farmIn(farmDir(), 2);
    const pids = ["nats", "coordinator", "agent-1", "agent-2"].map((name) => pidOf(farm, name));
    expect(pids.every(isRunning)).toBe(true);
    expect(await farm.stop()).toBe(0);
    expect(pids.filter(isRunning)).toEqual([]);
    expect(processesAbout(farm.dataDir)).toEqual([]);
  });

  it("keeps secrets out of arguments and to their owner", async () => {
    const farm = await farmIn(farmDir());
    const agentKeys = "agents/1/credentials.json";
    const texts = ["nats/credentials.json", agentKeys].map((file) => readFileSync(join(farm.dataDir, file), "utf8"));
    const kept = texts.flatMap((text) => [...text.matchAll(/"(?:password|seed|secret)":"([^"]+)"/g)]);
    const secrets = [farm.token, ...kept.map(([, secret = ""]) => secret)];
    expect(secrets).toHaveLength(5);
    const commands = processesAbout(farm.dataDir).map(({ command }) => command);
    expect(commands.length).toBeGreaterThanOrEqual(4);
    for (const secret of secrets) {
      expect(secret).toMatch(/^.{20,}$/);
      expect(commands.filter((command) => command.includes(secret))).toEqual([]);
    }
    for (const file of [
      ...["credentials.json", "nats/credentials.json", "nats/nats.conf", "nats/users.conf"],
      ...["coordinator/tokens/admin", agentKeys],
    ]) {
      expect(statSync(join(farm.dataDir, file)).mode & 0o077, file).toBe(0);
    }
  });

  it("runs in the background, once for each data folder, until it is told to stop; a second time at once", async () => {
    const dir = tempDir();
    const dataDir = join(dir, "data");
    const env = { ...cliEnvironment(dir), MILLRACE_DATA: dataDir };
    const start = (...args: string[]) => startCli(args, env);
    const anyPort = ["--grpc-port", "0", "--http-port", "0", "--nats-port", "0"];
    const up = await start("up", "--detach", "--agents", "1", ...anyPort, "--json").result;
    onTestFinished(async () => void (await start("down").result));
    expect(up, up.stderr).toMatchObject({ status: 0, stderr: "" });
    const { pid, log } = JSON.parse(up.stdout) as { pid: number; log: string };
    for (const more of [[], ["--detach"]]) {
      const { status, stderr } = await start("up", ...more).result;
      expect(status).toBe(3);
      expect(stderr).toContain(`is up with ${dataDir} already (process ${pid}). Use that one, stop it with`);
    }

    const run = start("run", slowProject("3600"));
    await run.line(/│ before$/);
    const down = start("down");
    expect(await down.line(/runs on/)).toBe("  run_1 a/b runs on agent-1");
    expect(isRunning(pid)).toBe(true);
    down.process.kill("SIGINT");
    expect(await down.result).toMatchObject({ status: 0, stderr: expect.stringContaining("tasks that run have 30 s") });
    expect(processesAbout(dataDir)).toEqual([]);
    expect(readFileSync(log, "utf8")).toContain("Z stopping: tasks that run have 30 s");
    run.process.kill("SIGKILL"); // It would wait for the coordinator to come back.
    await run.result;

    expect(await start("down").result).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("no farm is up with"),
    });
    const failed = await start("up", "--detach", ...anyPort, "--tls-cert", "cert.pem", "--tls-key", "key.pem").result;
    expect(failed.status).toBe(2);
    expect(failed.stderr).toMatch(/^millrace: .*cert\.pem.*ENOENT.*\nIts log: .*up\.log\n$/);
  });

  it("leaves no process behind when it is killed with kill -9, and takes its folder over at the next start", async () => {
    const dir = farmDir();
    const farm = await farmIn(dir, 1);
    const cli = farm.startCli(["run", slowProject()]);
    await cli.line(/│ before$/);
    await farm.kill();
    await vi.waitFor(() => expect(processesAbout(farm.dataDir)).toEqual([]), {
      timeout: limits.orphanMs + 5_000,
      interval: 100,
    });
    cli.process.kill("SIGKILL"); // It would wait for the coordinator to come back.
    await cli.result;

    const next = await farmIn(dir, 1);
    expect(next.grpc).toBe(farm.grpc);
    expect((await next.cli(["runs"])).status).toBe(0);
  });

  it("starts a killed coordinator again where it was; the run goes on and its log is whole", async () => {
    const farm = await farmIn(farmDir(), 1);
    const cli = farm.startCli(["run", slowProject()]);
    await cli.line(/│ before$/);
    process.kill(pidOf(farm, "coordinator"), "SIGKILL");
    await farm.problem(/coordinator.* was ended by SIGKILL; starting it again/);
    const { status, stdout } = await cli.result;
    expect(stdout).toMatch(/the coordinator is away/);
    expect(stdout.match(/│ (before|after)$/gm)).toEqual(["│ before", "│ after"]);
    expect(stdout).toMatch(/^run_1 succeeded/m);
    expect(status).toBe(0);
  });

  it("starts a killed NATS again; a run goes on", async () => {
    const farm = await farmIn(farmDir(), 1);
    const cli = farm.startCli(["run", slowProject()]);
    await cli.line(/│ before$/);
    process.kill(pidOf(farm, "nats"), "SIGKILL");
    await farm.problem(/nats.* was ended by SIGKILL; starting it again/);
    const { status } = await cli.result;
    expect(status).toBe(0);
  });

  it("says what is missing when it cannot start, and leaves nothing running", async () => {
    const dir = tempDir();
    const env = { ...cliEnvironment(dir), PATH: "/usr/bin:/bin" };
    const taken = await farmIn(farmDir(), 0);
    const port = taken.grpc.split(":")[1] ?? "";
    const refused = await startCli(["up", "--data", join(dir, "d"), "--grpc-port", port], env).result;
    expect(refused.status).toBe(3);
    expect(refused.stderr).toContain(`port ${port} is in use`);
    const keyless = ["--host", "0.0.0.0", "--tls-cert", "/nowhere/cert.pem", "--tls-key", "/nowhere/key.pem"];
    const unknown = await startCli(
      ["up", "--data", join(dir, "d"), "--grpc-port", "0", "--http-port", "0", "--nats-port", "0", ...keyless],
      env,
    ).result;
    expect(unknown.status).toBe(2);
    expect(unknown.stderr).toContain("--tls-cert /nowhere/cert.pem: ENOENT");
    const nowhere = await startCli(["up", "--data", "/proc/millrace/d"], env).result;
    expect(nowhere.status).toBe(2);
    expect(nowhere.stderr).toContain("/proc/millrace/d cannot be made: making the folder /proc/millrace: ENOENT");
    expect(processesAbout(join(dir, "d"))).toEqual([]);
    expect(existsSync(join(dir, "config"))).toBe(false);
  });
});

import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { startFarm, type TestFarm } from "../support/farm.ts";
import { freePort } from "../support/free-port.ts";
import { processesAbout } from "../support/process-state.ts";
import { environment, served, servers, service } from "../support/service.ts";

async function farmWithTwoAgents(): Promise<TestFarm> {
  const farm = await startFarm({ agents: 2 });
  onTestFinished(() => farm.remove());
  return farm;
}

const pidOf = (farm: TestFarm, name: string): number =>
  JSON.parse(readFileSync(join(farm.dataDir, "pids", `${name}.json`), "utf8")).pid;

it("deploys what was built, goes back by itself from a bad version, and shows what stands where", async () => {
  const dir = mkdtempSync(join(tmpdir(), "millrace-farm-"));
  const farm = await startFarm({ agents: 2, dir });
  onTestFinished(() => farm.remove());
  const port = await freePort();
  const missing = await farm.cli(["env", "show", "local"]);
  expect(missing.status).not.toBe(0);
  expect(missing.stderr).toContain('there is no environment "local"');

  const good = await farm.run(service(port, "one"));
  expect(good).toMatchObject({ exitStatus: 0, status: "succeeded" });
  expect(await served(port)).toBe("one");
  const log = (await farm.cli(["logs", "1"])).stdout;
  for (const line of ["stopping: nothing runs yet", "current is now", "probe: 200 OK", "app in local is deployed"]) {
    expect(log).toContain(line);
  }
  const before = await environment(farm);
  expect(before.apps).toMatchObject([{ run: "run_1", healthy: true }]);

  const bad = await farm.run(service(port, "bad"));
  expect(bad).toMatchObject({ exitStatus: 1, status: "failed" });
  expect((await farm.cli(["show", "2"])).stdout).toMatch(
    /could not be deployed: the probe had no good answer within 1 s/,
  );
  expect(await served(port)).toBe("one");
  const after = await environment(farm);
  expect(after.agent).toBe(before.agent);
  expect(after.apps).toMatchObject([
    { release: before.apps[0]?.release, run: "run_1", healthy: true, last: { run: "run_2", wentBack: true } },
  ]);
  expect((await farm.cli(["env", "show", "local"])).stdout).toMatch(/app .* run_1 +healthy +run_2 failed to deploy/);

  // The farm takes with it what it has started, and starts it again when it comes back.
  await farm.stop();
  expect(processesAbout(`serve-${port}.mjs`)).toEqual([]);
  const next = await startFarm({ agents: 2, dir });
  onTestFinished(() => next.remove());
  await expect.poll(() => served(port).catch(() => ""), { timeout: 15_000 }).toBe("one");
  expect((await environment(next)).apps).toEqual(after.apps);
});

it.each(["coordinator", "agent"])(
  "finishes a deployment once when its %s is killed in the middle",
  async (victim) => {
    const farm = await farmWithTwoAgents();
    const port = await freePort();
    expect((await farm.run(service(port, "one"))).exitStatus).toBe(0);
    const { agent } = await environment(farm);
    const cli = farm.startCli(["run", service(port, "two", 1_500)]);
    await cli.line(/probing http/);
    process.kill(pidOf(farm, victim === "agent" ? agent : victim), "SIGKILL");
    await farm.problem(/was ended by SIGKILL; starting it again/);
    const { status, stdout } = await cli.result;
    expect(stdout).toMatch(/^run_2 succeeded/m);
    expect(status).toBe(0);
    expect(stdout.match(/app in local is deployed/g)).toHaveLength(1);
    expect(await served(port)).toBe("two");
    expect((await environment(farm)).apps).toMatchObject([{ run: "run_2", healthy: true }]);
    expect(servers(port)).toHaveLength(1);
  },
  60_000,
);

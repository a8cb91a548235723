import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it, onTestFinished } from "vitest";
import { exitOf } from "../support/exit-of.ts";
import { startFarm, type TestFarm } from "../support/farm.ts";
import { freePort } from "../support/free-port.ts";
import { isLong } from "../support/long.ts";
import { environment, served, servers, service } from "../support/service.ts";
import { tempDir } from "../support/temp-dir.ts";

/** The one agent of a farm; it can be told to kill the coordinator when a certain step is in its journal. */
async function killingAgent(farm: TestFarm) {
  const dir = tempDir();
  const due = join(dir, "due");
  const child = spawn(
    process.execPath,
    [
      join(import.meta.dirname, "fixtures/killing-agent.ts"),
      farm.grpc,
      join(farm.dataDir, "coordinator", "tokens", "agent"),
      join(dir, "agent"),
      due,
      join(farm.dataDir, "pids", "coordinator.json"),
    ],
    { stdio: ["ignore", "pipe", "ignore"] },
  );
  onTestFinished(async () => {
    child.kill("SIGTERM");
    await exitOf(child);
  });
  await once(child.stdout, "data");
  return {
    killCoordinatorAt: (step: string) => writeFileSync(due, step),
    hasKilled: () => !existsSync(due),
  };
}

// A farm for each group: the supervisor waits longer each time before it starts again what keeps falling.
const all = [
  [["fetching", "stopping", "flipping"]],
  [["starting", "probing", "succeeded"]],
  [["back-stopping", "back-flipping", "back-starting"]],
  [["back-probing", "failed"]],
];
it.each(isLong ? all : [[["flipping", "succeeded"]], [["back-flipping", "failed"]]])(
  "is wholly old or wholly new, and done once, when the coordinator is killed at %j",
  async (steps) => {
    const farm = await startFarm({ agents: 0 });
    onTestFinished(() => farm.remove());
    const port = await freePort();
    const host = await killingAgent(farm);
    expect((await farm.run(service(port, "zero"))).exitStatus).toBe(0);
    let good = { run: "run_1", version: "zero" };
    for (const step of steps) {
      const isGood = !step.startsWith("back-") && step !== "failed";
      host.killCoordinatorAt(step);
      const { run, status, tasks } = await farm.run(service(port, isGood ? step : "bad"));
      expect(host.hasKilled(), step).toBe(true);
      expect(status, step).toBe(isGood ? "succeeded" : "failed");
      expect(tasks.find(({ stage }) => stage === "production")).toMatchObject({ attempts: 1, agent: "agent-host" });
      if (isGood) good = { run, version: step };
      expect(await served(port), step).toBe(good.version);
      expect(servers(port), step).toHaveLength(1);
      const { apps } = await environment(farm);
      expect(apps, step).toMatchObject([{ run: good.run, healthy: true, last: { run, wentBack: !isGood } }]);
      const { stdout: log, ...read } = await farm.cli(["logs", run]);
      expect(read).toEqual({ status: 0, stderr: "" });
      const often = (line: string): number => log.split(line).length - 1;
      expect(often("current is now"), log).toBe(1);
      expect(often("starting "), log).toBe(isGood ? 1 : 2);
      expect(often(isGood ? "app in local is deployed" : "app in local is back at"), step).toBe(1);
    }
  },
  120_000,
);

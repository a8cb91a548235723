import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import type { TestFarm } from "../support/farm.ts";
import { bulkyLog, bulkyOutput, farmOnSmallDisk, mebibyte, noMounts } from "../support/full-disk.ts";

/** All parts of a farm, each by its process. */
function pidsOf(farm: TestFarm): number[] {
  const parts = ["nats", "coordinator", "agent-1"];
  return parts.map((part) => JSON.parse(readFileSync(join(farm.dataDir, "pids", `${part}.json`), "utf8")).pid);
}

const diskBytes = 48 * mebibyte;
const outputBytes = 80 * mebibyte;
const enlargedBytes = 512 * mebibyte;

describe("a full disk", () => {
  it("ends a task with too large an output with 3, says where and what to do; enlarged, the next run succeeds", async ({
    skip,
  }) => {
    const on = (await farmOnSmallDisk(diskBytes)) ?? skip(noMounts);
    const { disk, farm } = on;
    const pids = pidsOf(farm);
    const source = bulkyOutput(outputBytes);
    const failed = await farm.cli(["run", source]);
    expect(failed.status, failed.stdout + failed.stderr).toBe(3);
    expect(failed.stdout).toContain("it exited with 1: the disk of agent-1 on ");
    expect(failed.stdout).toContain(`${farm.dataDir}/agents/1 has 0 B of 48.0 MiB free; free some space`);
    expect(pidsOf(farm)).toEqual(pids);

    disk.resize(enlargedBytes);
    const { exitStatus, run } = await farm.run(source);
    expect(exitStatus).toBe(0);
    const artifacts = await farm.cli(["artifacts", run, "--json"]);
    expect(JSON.parse(artifacts.stdout)).toMatchObject({ artifacts: [{ name: "big", sizeBytes: outputBytes }] });
    expect(pidsOf(farm)).toEqual(pids);
  });

  it("ends a task that prints too much with 3, says where and what to do; enlarged, the next run succeeds", async ({
    skip,
  }) => {
    const on = (await farmOnSmallDisk(diskBytes)) ?? skip(noMounts);
    const { disk, farm } = on;
    const pids = pidsOf(farm);
    const source = bulkyLog(outputBytes);
    const failed = await farm.run(source);
    expect(failed.exitStatus).toBe(3);
    const [task] = failed.tasks;
    expect(task?.ending).toMatch(
      /the disk of (the coordinator|agent-1 on .*) is full: .* of 48\.0 MiB free; free some/,
    );
    expect(task?.attempts).toBe(1);
    expect(pidsOf(farm)).toEqual(pids);

    disk.resize(enlargedBytes);
    const { exitStatus, run } = await farm.run(source);
    expect(exitStatus).toBe(0);
    const { stdout } = await farm.cli(["logs", run, "b"]);
    expect(stdout).toHaveLength(outputBytes);
    expect(pidsOf(farm)).toEqual(pids);
  });

  it("that others have filled is told by doctor, agents and run; with room again the farm works as before", async ({
    skip,
  }) => {
    const on = (await farmOnSmallDisk(diskBytes)) ?? skip(noMounts);
    const { disk, farm } = on;
    const source = bulkyOutput(8 * mebibyte);
    disk.fill("filler");
    const refused = await farm.cli(["run", source]);
    expect(refused.status, refused.stdout + refused.stderr).toBe(3);
    expect(refused.stdout + refused.stderr).toMatch(/the disk of .* is full: .* of 48\.0 MiB free; free some space/);
    disk.fill("filler"); // the coordinator gave its reserve back
    const doctor = await farm.cli(["doctor"]);
    expect(doctor.status).toBe(1);
    expect(doctor.stdout).toMatch(/^coordinator disk +failed +\S+\/coordinator has .* of 48\.0 MiB free/m);
    await vi.waitFor(
      async () => {
        const agents = await farm.cli(["agents", "--json"]);
        expect(JSON.parse(agents.stdout)).toMatchObject({ agents: [{ id: "agent-1", disk: { isLow: true } }] });
      },
      { timeout: 20_000, interval: 500 },
    );

    rmSync(join(disk.dir, "filler"));
    expect((await farm.run(source)).exitStatus).toBe(0);
  });
});

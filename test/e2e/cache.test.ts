import { utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, type RunResult, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 2 });
});
afterAll(() => farm.remove());

const files = {
  "millrace.yaml": `name: parts
stages:
  build:
    tasks:
      left: { run: "mkdir out && tr a-z A-Z < left.txt > out/l && cat out/l", inputs: [left.txt], outputs: { l: out/ } }
      right: { run: "mkdir out && tr a-z A-Z < right.txt > out/r && cat out/r", inputs: [right.txt], outputs: { r: out/ } }
  join:
    needs: [build]
    tasks:
      both: { run: "cat l/l r/r", use: [l, r], inputs: [] }
      other: { run: echo other, inputs: [other.txt] }
`,
  "left.txt": "left\n",
  "right.txt": "right\n",
  "other.txt": "other\n",
};

const cachedOf = (result: RunResult) => Object.fromEntries(result.tasks.map((task) => [task.name, task.cached]));

describe("the second run of the same sources", () => {
  it("starts no process anywhere, and gives the same log and artifacts", async () => {
    const dir = project(files);
    const first = await farm.run(dir);
    expect(first.status).toBe("succeeded");
    expect(cachedOf(first)).toEqual({ left: false, right: false, both: false, other: false });
    const starts = farm.processStarts();
    expect(starts).toHaveLength(4);

    // From another folder, with other times on its files: only what is in them counts.
    const second = await farm.run(project(files));
    expect(second.status).toBe("succeeded");
    expect(cachedOf(second)).toEqual({ left: true, right: true, both: true, other: true });
    expect(farm.processStarts()).toEqual(starts);

    const log = (result: RunResult) => farm.cli(["logs", result.run, "both"]).then(({ stdout }) => stdout);
    expect(await log(second)).toBe("LEFT\nRIGHT\n");
    const artifacts = async (result: RunResult) =>
      JSON.parse((await farm.cli(["artifacts", result.run, "--json"])).stdout).artifacts;
    expect(await artifacts(second)).toEqual(await artifacts(first));
  });

  it("runs only what depends on a file that was touched", async () => {
    const dir = project(files);
    await farm.run(dir);
    const before = farm.processStarts().length;
    writeFileSync(join(dir, "left.txt"), "changed\n");
    const result = await farm.run(dir);
    expect(result.status).toBe("succeeded");
    expect(cachedOf(result)).toEqual({ left: false, right: true, both: false, other: true });
    expect(farm.processStarts().length - before).toBe(2);
  });

  it("runs a failed task again: a failure is not cached", async () => {
    const dir = project({ "millrace.yaml": "name: f\nstages:\n  a:\n    tasks:\n      b: { run: exit 1 }\n" });
    expect((await farm.run(dir)).exitStatus).toBe(1);
    const before = farm.processStarts().length;
    expect(cachedOf(await farm.run(dir))).toEqual({ b: false });
    expect(farm.processStarts().length - before).toBe(1);
  });
});

describe("two runs of the same sources at once", () => {
  it("start each process once, and both show its output as it comes", async () => {
    const files = {
      "millrace.yaml": `name: at-once
stages:
  a:
    tasks:
      slow: { run: "echo before; sleep 4; echo after" }
`,
    };
    const before = farm.processStarts().length;
    const first = farm.startCli(["run", project(files)]);
    await first.line(/before/);
    const second = farm.startCli(["run", project(files)]);
    await second.line(/before/);
    for (const { result } of [first, second]) {
      const { status, stdout } = await result;
      expect(status).toBe(0);
      expect(stdout).toContain("after");
    }
    expect(farm.processStarts().length - before).toBe(1);
    const [run] = JSON.parse((await farm.cli(["runs", "--json"])).stdout).runs;
    expect((await farm.cli(["logs", run.run, "slow"])).stdout).toBe("before\nafter\n");
  });
});

describe("a file that is changed again and again", () => {
  it("is seen by every run, though its size and its modification time stay the same", async () => {
    const dir = project(files);
    for (const text of ["first\n", "other\n", "third\n"]) {
      writeFileSync(join(dir, "left.txt"), text);
      utimesSync(join(dir, "left.txt"), 1, 1);
      const { run } = await farm.run(dir, "--task", "left");
      expect((await farm.cli(["logs", run, "left"])).stdout).toBe(text.toUpperCase());
    }
  });
});

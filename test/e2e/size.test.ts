import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 2, slots: 4 });
});
afterAll(() => farm.remove());

describe("size", () => {
  it("a graph of 500 tasks runs, each after what it needs", async () => {
    const stages = Array.from({ length: 10 }, (_, stage) => {
      const tasks = Array.from({ length: 50 }, (_, task) => {
        const needs = task >= 10 ? `, needs: [t${task - 10}]` : "";
        return `      t${task}: { run: "echo s${stage}t${task}", inputs: []${needs} }`;
      });
      const needs = stage === 0 ? "" : `    needs: [s${stage - 1}]\n`;
      return `  s${stage}:\n${needs}    tasks:\n${tasks.join("\n")}\n`;
    });
    const dir = project({ "millrace.yaml": `name: wide\nstages:\n${stages.join("")}` });
    const result = await farm.run(dir);
    expect(result.tasks.filter(({ status }) => status !== "succeeded")).toEqual([]);
    expect(result.status).toBe("succeeded");
    expect(result.tasks).toHaveLength(500);
    expect(result.tasks.filter((task) => task.status !== "succeeded")).toEqual([]);
    const again = await farm.run(dir);
    expect(again.tasks.filter((task) => !task.cached)).toEqual([]);
  });

  it("100,000 lines of one task arrive complete and in order, live and afterwards", async () => {
    const count = 100_000;
    const dir = project({
      "millrace.yaml": `name: long\nstages:\n  a:\n    tasks:\n      b: { run: "seq 1 ${count}", cache: false }\n`,
    });
    const { status, stdout } = await farm.cli(["run", dir]);
    expect(status).toBe(0);
    const expected = Array.from({ length: count }, (_, index) => String(index + 1));
    const live = stdout.split("\n").flatMap((line) => /^a\/b │ (\d+)$/.exec(line)?.[1] ?? []);
    expect(live.length).toBe(count);
    expect(live).toEqual(expected);
    const [, run = ""] = /^(run_\d+) succeeded/m.exec(stdout) ?? [];
    const stored = await farm.cli(["logs", run, "b"]);
    expect(stored.stdout).toBe(`${expected.join("\n")}\n`);
  });
});

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { project, startFarm, type TestFarm } from "../support/farm.ts";

let farm: TestFarm;
beforeAll(async () => {
  farm = await startFarm({ agents: 1, slots: 1 });
});
afterAll(() => farm.remove());

interface FlowJson {
  readonly run: string;
  readonly leadTimeMs: number;
  readonly processMs: number;
  readonly bottleneck: { readonly stage: string; readonly kind: string; readonly share: number };
  readonly segments: readonly { readonly task: string | null; readonly kind: string; readonly durationMs: number }[];
}

interface WhyJson {
  readonly waiting: readonly { task: string; code: string; openNeeds?: readonly { task: string; status: string }[] }[];
}

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr } = await farm.cli([...args, "--json"]);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as T;
}

describe("flow and why", () => {
  it("say what a run waits for while it does, and afterwards where its time went, to the millisecond", async () => {
    const dir = project({
      "millrace.yaml": `name: shop
stages:
  build:
    tasks:
      one: { run: "echo one", cache: false }
      two: { run: "echo two", cache: false }
  explore:
    needs: [build]
    manual: { title: Look at it }
  publish:
    needs: [explore]
    tasks:
      upload: { run: "echo up", agents: { pool: none } }
`,
    });
    const cli = farm.startCli(["run", dir]);
    const [, run = ""] = /(run_\d+)/.exec(await cli.line(/submitted as/)) ?? [];
    await cli.line(/^explore\/approval.*waits: a person has to decide/);
    const { waiting } = await json<WhyJson>("why", run);
    expect(waiting).toMatchObject([
      { task: "explore/approval", code: "gate", detail: expect.stringContaining("Look at it") },
      { task: "publish/upload", code: "needs", openNeeds: [{ task: "explore/approval", status: "waiting" }] },
    ]);
    expect((await farm.cli(["why", "one"])).stdout).toBe(`build/one of ${run} does not wait: it is succeeded\n`);

    expect((await farm.cli(["approve", run, "explore"])).status).toBe(0);
    await cli.line(/^publish\/upload.*waits: no agent matches/);
    expect((await json<WhyJson>("why", "publish/upload", "--run", run)).waiting).toMatchObject([
      { code: "no-agent-matches", detail: "no connected agent offers pool=none" },
    ]);
    await farm.cli(["cancel", run]);
    expect((await cli.result).status).toBe(3);

    const flow = await json<FlowJson>("flow", "--run", run);
    const { durationMs } = await json<{ durationMs: number }>("show", run);
    expect(flow.leadTimeMs).toBe(durationMs);
    expect(flow.segments.reduce((sum, segment) => sum + segment.durationMs, 0)).toBe(durationMs);
    const kinds = new Map(flow.segments.map(({ task, kind }) => [kind, task]));
    expect(kinds.get("gate")).toBe("explore/approval");
    expect(kinds.get("no-agent-matches")).toBe("publish/upload");
    expect(kinds.get("agents-busy")).toMatch(/^build\//);
    const drawn = await farm.cli(["flow", run]);
    expect(drawn.stdout).toMatch(/^bottleneck: \w+, .* of the lead time$/m);
    expect(drawn.stdout).toMatch(/^process .*└─ /m);
  });

  it("give medians over the successful runs of a pipeline, and say when there are none", async () => {
    const dir = project({
      "millrace.yaml": "name: twice\nstages: { s: { tasks: { t: { run: echo hi, cache: false } } } }\n",
    });
    const runs = [(await farm.run(dir)).run, (await farm.run(dir)).run];
    const flow = await json<{ runs: string[]; efficiency: number }>("flow", "--pipeline", "twice");
    expect(flow.runs).toEqual(runs.toReversed());
    expect(flow.efficiency).toBeGreaterThan(0);
    const none = await farm.cli(["flow", "--pipeline", "thrice"]);
    expect(none.status).toBe(2);
    expect(none.stderr).toContain('no run of "thrice" succeeded');
  });
});

import { join } from "node:path";
import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { toDot } from "../../../../cli/graph/dot.ts";
import { drawPipeline, pipelineGraph } from "../../../../cli/graph/draw-pipeline.ts";
import { loadPipelineFile } from "../../../../cli/load-pipeline.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";

const { pipeline, problems } = await loadPipelineFile(join(import.meta.dirname, "../../../e2e/fixtures/large"), {
  evaluate: () => expect.unreachable("it is in YAML"),
});
if (pipeline === undefined) throw new Error(JSON.stringify(problems));

describe("a pipeline of 12 stages and 300 tasks", () => {
  it("is planned with matrices, shards, conditions, services, generated tasks, a gate and an end", () => {
    const { tasks } = planRun({ pipeline, source: [], offers: [], stages: [], tasks: [] });
    expect(new Set(tasks.map(({ stage }) => stage)).size).toBe(12);
    expect(tasks).toHaveLength(300);
    const only = (wanted: (task: (typeof tasks)[number]) => boolean) => tasks.filter(wanted).map(({ name }) => name);
    expect(only(({ gate }) => gate !== undefined)).toEqual(["approval"]);
    expect(only(({ generates }) => generates !== "")).toEqual(["plan"]);
    expect(only(({ always }) => always)).toEqual(["unlock", "tell", "sum-1-of-2", "sum-2-of-2"]);
    expect(only(({ when }) => when !== "")).toEqual(["tell"]);
    const unmet = new Set(tasks.map(({ conditionUnmet }) => conditionUnmet));
    expect([...unmet]).toEqual(["", "params.level == 'full' is false", "params.channel == 'stable' is false"]);
    expect(only(({ madeFrom }) => madeFrom === "unit/test")).toHaveLength(60);
    const last = tasks.find(({ name }) => name === "tell");
    expect(last?.needs).toHaveLength(297);
  });

  it("is drawn in a line for each task of the file, with what is made of it", () => {
    const drawn = drawPipeline(pipeline, pc.createColors(false));
    const lines = drawn.split("\n");
    expect(lines.length).toBeLessThan(60);
    for (const line of [
      "└─ docs  if changes of docs/**",
      "├─ database  ×6 engine: postgres, mariadb, sqlite; isolation: read, serial  beside db",
      "└─ flow      ×67 shards",
      "└─ approval  ◇ Exploratory test, decided by admin",
      "finally  at the end, however the run went",
      "├─ tell  if run.failed",
    ]) {
      expect(lines).toContain(line);
    }
    expect(drawn).toContain("test   ×60 runtime: 22, 24, 26; 20 shards  ◀ app-linux-debug of compile/app");
    expect(drawn).toMatch(/^├─ load {2}×3 users: 10, 100, 1000 {2}if params.level == 'full'$/m);
    expect(drawn).toMatch(/^└─ unlock +at the end of the stage$/m);
  });

  it("is a digraph with a node for each task of the file, and JSON with one for each that is made", () => {
    const dot = toDot(pipeline);
    expect(dot.match(/label="test\\n×60 /g)).toHaveLength(1);
    expect(dot).toContain('"explore/approval" [label="approval", shape=diamond];');
    expect(dot).toContain('"finally/tell" [label="tell\\nif run.failed", style="rounded,dashed", peripheries=2];');
    expect(dot).toContain('"unit/test" -> "unit/merge" [label="unit-22-1-of-20, ');
    const { nodes } = pipelineGraph(pipeline);
    expect(nodes).toHaveLength(300);
    expect(nodes.find(({ id }) => id === "unit/test-24-3-of-20")).toMatchObject({
      madeFrom: "unit/test",
      variant: { runtime: "24", shard: "3/20" },
    });
  });
});

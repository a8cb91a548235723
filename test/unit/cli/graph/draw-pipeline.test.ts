import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { drawPipeline, pipelineGraph } from "../../../../cli/graph/draw-pipeline.ts";
import type { Pipeline, Task } from "../../../../shared/pipeline/pipeline.ts";

function task(stage: string, name: string, more: Partial<Task> = {}): Task {
  return {
    ...{ stage, name, needs: [], run: "true", inputs: undefined, outputs: [], use: [], env: {}, timeoutMs: 1_000 },
    ...{
      agents: {},
      cache: true,
      idempotent: true,
      tools: [],
      caches: [],
      priority: 0,
      allowFailure: false,
      secrets: [],
      always: false,
      variant: {},
      conditions: [],
      services: [],
      position: { line: 1, column: 1 },
      ...more,
    },
  };
}

/** Written in another order than it runs, as files may be. */
const pipeline: Pipeline = {
  name: "shop",
  file: "millrace.yaml",
  params: {},
  triggers: {},
  stages: [
    {
      name: "verify",
      needs: ["build"],
      tasks: [task("verify", "unit", { use: [{ artifact: "app", task: "build/compile", path: "app" }] })],
    },
    {
      name: "build",
      needs: [],
      tasks: [
        task("build", "compile", { outputs: [{ artifact: "app", path: "dist" }] }),
        task("build", "lint", { needs: ["build/compile"] }),
      ],
    },
  ],
};

describe("a drawn pipeline", () => {
  it("has stages in the order of their needs, with what passes between tasks", () => {
    expect(drawPipeline(pipeline, pc.createColors(false))).toBe(
      [
        "shop",
        "",
        "build",
        "├─ compile  ▶ app",
        "└─ lint     after build/compile",
        "",
        "verify  after build",
        "└─ unit  ◀ app of build/compile",
        "",
      ].join("\n"),
    );
  });

  it("names each edge once for programs, with its artifact where there is one", () => {
    expect(pipelineGraph(pipeline).edges).toEqual([
      { from: "build/compile", to: "verify/unit", artifact: "app" },
      { from: "build/lint", to: "verify/unit" },
      { from: "build/compile", to: "build/lint" },
    ]);
  });
});

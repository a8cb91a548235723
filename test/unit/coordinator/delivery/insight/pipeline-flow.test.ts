import { expect, test } from "vitest";
import { pipelineFlow } from "../../../../../coordinator/delivery/insight/pipeline-flow.ts";
import { runFlow } from "../../../../../coordinator/delivery/insight/run-flow.ts";
import { WaitCause } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { ended, finished, plan, requested, started, told, waits } from "../../../../support/told-run.ts";

test("a pipeline shows medians over its runs, where a stage that a path does not touch counts as 0", () => {
  const run = (name: string, buildMs: number, waitMs: number) =>
    runFlow(
      name,
      told(
        [0, requested],
        [0, plan({ "build/app": [] })],
        [0, waits("build/app", WaitCause.AGENTS_BUSY)],
        [waitMs, started("build/app")],
        [buildMs, finished("build/app")],
        [0, ended],
      ),
      0,
    );
  const flow = pipelineFlow("shop", [run("run_3", 100, 0), run("run_2", 300, 900), run("run_1", 110, 90)]);
  expect(flow).toMatchObject({ runs: ["run_3", "run_2", "run_1"], leadTimeMs: 200n, processMs: 110n });
  expect(flow.efficiency).toBeCloseTo(0.55);
  expect(flow.stages).toMatchObject([
    { stage: "build", processMs: 110n, waits: [{ cause: WaitCause.AGENTS_BUSY, durationMs: 90n }] },
  ]);
  expect(flow.bottleneck).toMatchObject({ stage: "build", process: true, durationMs: 110n });
  expect(pipelineFlow("shop", [])).toMatchObject({ leadTimeMs: 0n, runs: [] });
});

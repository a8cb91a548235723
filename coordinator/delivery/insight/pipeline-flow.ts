import { create } from "@bufbuild/protobuf";
import type { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type PipelineFlow, PipelineFlowSchema, type RunFlow } from "../../../proto/gen/millrace/v1/flow_pb.ts";
import { bottleneckOf, type StageTimes, stageFlows } from "./run-flow.ts";

/**
 * Medians over runs of one pipeline, newest first. A mean would follow the one run that waited over the weekend. A stage
 * or a cause that a run's longest path does not have counts as 0 there.
 */
export function pipelineFlow(pipeline: string, flows: readonly RunFlow[]): PipelineFlow {
  const stages = medianStages(flows);
  const bottleneck = bottleneckOf(stages);
  return create(PipelineFlowSchema, {
    pipeline,
    runs: flows.map(({ run }) => run),
    leadTimeMs: BigInt(Math.round(median(flows.map(({ leadTimeMs }) => Number(leadTimeMs))))),
    processMs: BigInt(Math.round(median(flows.map(({ processMs }) => Number(processMs))))),
    efficiency: median(flows.map(efficiencyOf)),
    stages: stageFlows(stages),
    ...(bottleneck === undefined ? {} : { bottleneck }),
  });
}

/** Of no values, 0; of an even number, the mean of the two in the middle. */
function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? 0;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2;
}

function efficiencyOf({ processMs, leadTimeMs }: RunFlow): number {
  return leadTimeMs === 0n ? 0 : Number(processMs) / Number(leadTimeMs);
}

function medianStages(flows: readonly RunFlow[]): Map<string, StageTimes> {
  const byRun = flows.map(({ stages }) => new Map(stages.map((stage) => [stage.stage, stage])));
  const names = new Set(byRun.flatMap((stages) => [...stages.keys()]));
  const medians = new Map<string, StageTimes>();
  for (const name of names) {
    const stages = byRun.map((run) => run.get(name));
    const causes = new Set(stages.flatMap((stage) => stage?.waits.map(({ cause }) => cause) ?? []));
    const waitsMs = new Map<WaitCause, number>();
    for (const cause of causes) {
      const times = stages.map((stage) => stage?.waits.find((wait) => wait.cause === cause)?.durationMs ?? 0n);
      waitsMs.set(cause, median(times.map(Number)));
    }
    medians.set(name, { processMs: median(stages.map((stage) => Number(stage?.processMs ?? 0n))), waitsMs });
  }
  return medians;
}

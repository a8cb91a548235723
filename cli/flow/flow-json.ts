import type { Bottleneck, PipelineFlow, RunFlow, StageFlow } from "../../proto/gen/millrace/v1/flow_pb.ts";
import { isoTime, runStatusLabel, waitCauseCode } from "../output/labels.ts";

/** What `flow --json` prints of a run. Field names are a promise to scripts. */
export function runFlowJson(flow: RunFlow) {
  const { leadTimeMs, processMs } = flow;
  return {
    run: flow.run,
    pipeline: flow.pipeline,
    status: runStatusLabel(flow.status),
    createTime: isoTime(flow.createTime),
    leadTimeMs: Number(leadTimeMs),
    processMs: Number(processMs),
    waitMs: Number(leadTimeMs - processMs),
    /** From 0 to 1. */
    efficiency: leadTimeMs === 0n ? 0 : Number(processMs) / Number(leadTimeMs),
    bottleneck: flow.bottleneck === undefined ? null : bottleneckJson(flow.bottleneck, leadTimeMs),
    stages: flow.stages.map(stageJson),
    /** Sum exactly to `leadTimeMs`. */
    segments: flow.segments.map(({ task, process, wait, fromMs, durationMs }) => ({
      task: task === "" ? null : task,
      kind: kindOf(process, wait),
      fromMs: Number(fromMs),
      durationMs: Number(durationMs),
    })),
  };
}

/** What `flow --pipeline --json` prints: medians. */
export function pipelineFlowJson(flow: PipelineFlow) {
  return {
    pipeline: flow.pipeline,
    runs: flow.runs,
    leadTimeMs: Number(flow.leadTimeMs),
    processMs: Number(flow.processMs),
    efficiency: flow.efficiency,
    bottleneck: flow.bottleneck === undefined ? null : bottleneckJson(flow.bottleneck, flow.leadTimeMs),
    stages: flow.stages.map(stageJson),
  };
}

function bottleneckJson({ stage, process, wait, durationMs }: Bottleneck, leadTimeMs: bigint) {
  const share = leadTimeMs === 0n ? 0 : Number(durationMs) / Number(leadTimeMs);
  return { stage, kind: kindOf(process, wait), durationMs: Number(durationMs), share };
}

function stageJson({ stage, processMs, waits }: StageFlow) {
  const byCause = waits.map(({ cause, durationMs }) => [waitCauseCode(cause), Number(durationMs)] as const);
  return { stage, processMs: Number(processMs), waitsMs: Object.fromEntries(byCause) };
}

/** `process`, or the code of the cause. */
function kindOf(process: boolean, wait: Bottleneck["wait"]): string {
  return process ? "process" : waitCauseCode(wait);
}

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { type Event, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import {
  type Bottleneck,
  BottleneckSchema,
  type RunFlow,
  RunFlowSchema,
  type StageFlow,
  StageFlowSchema,
} from "../../../proto/gen/millrace/v1/flow_pb.ts";
import { longestPath, type Segment } from "./longest-path.ts";
import { runTimeline } from "./run-timeline.ts";

/** What one stage's part of a longest path consists of, in milliseconds. Whole numbers, but for medians that lie between two. */
export interface StageTimes {
  processMs: number;
  readonly waitsMs: Map<WaitCause, number>;
}

/** Where the time of a run went: a pure fold over its events. */
export function runFlow(run: string, events: readonly Event[], nowMs: number): RunFlow {
  const timeline = runTimeline(events, nowMs);
  const segments = longestPath(timeline);
  const stages = stageTimes(segments);
  const bottleneck = bottleneckOf(stages);
  return create(RunFlowSchema, {
    run,
    pipeline: timeline.pipeline,
    status: timeline.status,
    createTime: timestampFromMs(timeline.createMs),
    leadTimeMs: BigInt(timeline.leadTimeMs),
    processMs: BigInt([...stages.values()].reduce((sum, { processMs }) => sum + processMs, 0)),
    segments: segments.map(({ task, wait, fromMs, durationMs }) => ({
      task,
      wait: wait ?? WaitCause.UNSPECIFIED,
      process: wait === undefined,
      fromMs: BigInt(fromMs),
      durationMs: BigInt(durationMs),
    })),
    stages: stageFlows(stages),
    ...(bottleneck === undefined ? {} : { bottleneck }),
  });
}

/** By stage, in the order in which the path reaches them. What no task accounts for belongs to no stage. */
function stageTimes(segments: readonly Segment[]): Map<string, StageTimes> {
  const stages = new Map<string, StageTimes>();
  for (const { task, stage, wait, durationMs } of segments) {
    if (task === "") continue;
    const times = stages.get(stage) ?? { processMs: 0, waitsMs: new Map<WaitCause, number>() };
    stages.set(stage, times);
    if (wait === undefined) times.processMs += durationMs;
    else times.waitsMs.set(wait, (times.waitsMs.get(wait) ?? 0) + durationMs);
  }
  return stages;
}

/** As the API shows them: what took no time is left out, the longest waits come first. */
export function stageFlows(stages: ReadonlyMap<string, StageTimes>): StageFlow[] {
  return [...stages].map(([stage, { processMs, waitsMs }]) =>
    create(StageFlowSchema, {
      stage,
      processMs: BigInt(Math.round(processMs)),
      waits: [...waitsMs]
        .filter(([, durationMs]) => Math.round(durationMs) > 0)
        .sort(([, a], [, b]) => b - a)
        .map(([cause, durationMs]) => ({ cause, durationMs: BigInt(Math.round(durationMs)) })),
    }),
  );
}

/** The process time, or the wait for one cause, of one stage that took longest; the first among equals. */
export function bottleneckOf(stages: ReadonlyMap<string, StageTimes>): Bottleneck | undefined {
  let longestMs = 0;
  let found: Bottleneck | undefined;
  const consider = (stage: string, wait: WaitCause | undefined, durationMs: number): void => {
    if (Math.round(durationMs) <= longestMs) return;
    longestMs = Math.round(durationMs);
    const what = { wait: wait ?? WaitCause.UNSPECIFIED, process: wait === undefined };
    found = create(BottleneckSchema, { stage, ...what, durationMs: BigInt(longestMs) });
  };
  for (const [stage, { processMs, waitsMs }] of stages) {
    consider(stage, undefined, processMs);
    for (const [cause, durationMs] of waitsMs) consider(stage, cause, durationMs);
  }
  return found;
}

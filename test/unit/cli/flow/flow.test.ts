import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import pc from "picocolors";
import { expect, test } from "vitest";
import { drawRunFlow } from "../../../../cli/flow/draw-flow.ts";
import { runFlowJson } from "../../../../cli/flow/flow-json.ts";
import { timeLadder } from "../../../../cli/flow/time-ladder.ts";
import { RunStatus, WaitCause } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { type FlowSegment, FlowSegmentSchema, RunFlowSchema } from "../../../../proto/gen/millrace/v1/flow_pb.ts";

type Init = MessageInitShape<typeof FlowSegmentSchema>;

function segments(...inits: readonly Init[]): FlowSegment[] {
  let fromMs = 0n;
  return inits.map((init) => {
    const segment = create(FlowSegmentSchema, { ...init, fromMs });
    fromMs += segment.durationMs;
    return segment;
  });
}

const path = segments(
  { task: "build/app", wait: WaitCause.PREPARING, durationMs: 5n },
  { task: "build/app", wait: WaitCause.AGENTS_BUSY, durationMs: 1_095n },
  { task: "build/app", process: true, durationMs: 4_200n },
  { task: "verify/unit", process: true, durationMs: 900n },
  { task: "explore/approval", wait: WaitCause.GATE, durationMs: 180_000n },
);

test("the ladder has wait above, process below, steps at every change, and one step for waits in a row", () => {
  expect(timeLadder(path, 120)).toBe(
    [
      "         build: agents-busy                       explore: gate",
      "wait     ───── 1.1 s ──────┐                     ┌─ 3 min 0 s ─",
      "process                    └─ 4.2 s ─── 900 ms ──┘",
      "                            build/app verify/unit",
      "",
    ].join("\n"),
  );
});

test("it fits the terminal: what is too wide goes on in another ladder", () => {
  const step = fc.record({
    task: fc.constantFrom("build/app", "verify/unit", ""),
    process: fc.boolean(),
    wait: fc.constantFrom(WaitCause.GATE, WaitCause.PREPARING),
    durationMs: fc.bigInt({ min: 1n, max: 10n ** 9n }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 40, max: 200 }), (steps, columns) => {
      for (const line of timeLadder(segments(...steps), columns).split("\n")) {
        expect([...line].length).toBeLessThanOrEqual(columns);
      }
    }),
  );
});

test("the bottleneck stands before all figures", () => {
  const flow = create(RunFlowSchema, {
    ...{ run: "run_1", pipeline: "shop", status: RunStatus.SUCCEEDED, segments: path },
    ...{ leadTimeMs: 186_200n, processMs: 5_100n },
    stages: [{ stage: "explore", waits: [{ cause: WaitCause.GATE, durationMs: 180_000n }] }],
    bottleneck: { stage: "explore", wait: WaitCause.GATE, durationMs: 180_000n },
  });
  const lines = drawRunFlow(flow, { colors: pc.createColors(false), columns: 120 }).split("\n");
  expect(lines[1]).toBe("bottleneck: explore, a person has to decide: 3 min 0 s, 97 % of the lead time");
  expect(lines[2]).toBe("lead time 3 min 6 s: process 5.1 s, wait 3 min 1 s; flow efficiency 3 %");
  expect(lines.at(-2)).toMatch(/^explore +0 ms +3 min 0 s +97 % +gate 3 min 0 s$/);
  const json = runFlowJson(flow);
  expect(json.segments.reduce((sum, { durationMs }) => sum + durationMs, 0)).toBe(json.leadTimeMs);
  expect(json.segments.map(({ kind }) => kind)).toEqual(["preparing", "agents-busy", "process", "process", "gate"]);
});

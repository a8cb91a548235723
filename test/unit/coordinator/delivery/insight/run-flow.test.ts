import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runFlow } from "../../../../../coordinator/delivery/insight/run-flow.ts";
import { decide } from "../../../../../coordinator/delivery/run/decide.ts";
import type { RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun } from "../../../../../coordinator/delivery/run/run-state.ts";
import {
  type Event,
  GateDecision,
  type PlannedTask,
  PlannedTaskSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import type { RunFlow } from "../../../../../proto/gen/millrace/v1/flow_pb.ts";
import { digestToMessage, emptyDigest } from "../../../../../shared/digest.ts";
import { from } from "../../../../../shared/errors.ts";
import { runs } from "../../../../support/property-runs.ts";
import { randomStories } from "../../../../support/random-stories.ts";
import { startStory } from "../../../../support/story.ts";
import {
  ended,
  finished,
  type Kind,
  plan,
  requested,
  started,
  startMs,
  submitted,
  told,
  waits,
} from "../../../../support/told-run.ts";

const digest = digestToMessage(emptyDigest);
/** `task what durationMs` of each segment. */
function shown({ segments }: RunFlow): string[] {
  return segments.map(({ task, process, wait, durationMs }) => {
    const cause = Object.entries(WaitCause).find(([, value]) => value === wait)?.[0] ?? "?";
    return `${task} ${process ? "process" : cause} ${durationMs}`;
  });
}

test("the longest path goes back over the needs that ended last, and each task counts from when it was its turn", () => {
  const flow = runFlow(
    "run_1",
    told(
      [0, requested],
      [0, plan({ "build/slow": [], "build/fast": [], "verify/unit": ["build/slow", "build/fast"] })],
      [5, submitted("build/slow")],
      [0, submitted("build/fast")],
      [10, started("build/fast")],
      [0, waits("build/slow", WaitCause.AGENTS_BUSY)],
      [20, finished("build/fast")],
      [3, started("build/slow")],
      [100, finished("build/slow")],
      [0, waits("verify/unit", WaitCause.PREPARING)],
      [7, submitted("verify/unit")],
      [1, started("verify/unit")],
      [50, finished("verify/unit")],
      [0, ended],
    ),
    0,
  );
  expect(shown(flow)).toEqual([
    "build/slow PREPARING 5",
    "build/slow PLACING 10",
    "build/slow AGENTS_BUSY 23",
    "build/slow process 100",
    "verify/unit PREPARING 7",
    "verify/unit PLACING 1",
    "verify/unit process 50",
  ]);
  expect(flow).toMatchObject({ pipeline: "shop", status: RunStatus.SUCCEEDED, leadTimeMs: 196n, processMs: 150n });
  expect(flow.stages).toMatchObject([
    {
      stage: "build",
      processMs: 100n,
      waits: [
        { cause: WaitCause.AGENTS_BUSY, durationMs: 23n },
        { cause: WaitCause.PLACING, durationMs: 10n },
        { cause: WaitCause.PREPARING, durationMs: 5n },
      ],
    },
    { stage: "verify", processMs: 50n },
  ]);
  expect(flow.bottleneck).toMatchObject({ stage: "build", process: true, durationMs: 100n });
});

test("what an agent did before it was lost is no process time but the wait for another one", () => {
  const flow = runFlow(
    "run_1",
    told(
      [0, requested],
      [0, plan({ "s/t": [] })],
      [1, submitted("s/t")],
      [1, started("s/t")],
      [60, waits("s/t", WaitCause.AGENT_LOST)],
      [5, started("s/t")],
      [30, finished("s/t")],
      [0, ended],
    ),
    0,
  );
  expect(shown(flow).slice(2)).toEqual(["s/t AGENT_LOST 60", "s/t AGENT_LOST 5", "s/t process 30"]);
  expect(flow.bottleneck).toMatchObject({ stage: "s", wait: WaitCause.AGENT_LOST, durationMs: 65n });
});

test("what a try did that another one followed, and the time until then, is the wait for the retry", () => {
  const flow = runFlow(
    "run_1",
    told(
      [0, requested],
      [0, plan({ "s/t": [] })],
      [1, submitted("s/t")],
      [1, started("s/t")],
      [60, { case: "taskRetried", value: { task: "s/t", try: 2 } }],
      [0, waits("s/t", WaitCause.RETRY_DELAY)],
      [500, waits("s/t", WaitCause.PREPARING)],
      [2, submitted("s/t")],
      [3, started("s/t")],
      [30, finished("s/t")],
      [0, ended],
    ),
    0,
  );
  const tries = ["s/t RETRY_DELAY 60", "s/t RETRY_DELAY 500", "s/t PREPARING 2", "s/t PLACING 3", "s/t process 30"];
  expect(shown(flow).slice(2)).toEqual(tries);
});

test("a run that is re-run is as long as until its last end, and no comment makes it longer", () => {
  const events = told(
    [0, requested],
    [0, plan({ "s/a": [], "s/b": ["s/a"] })],
    [1, started("s/a")],
    [10, finished("s/a")],
    [0, started("s/b")],
    [5, finished("s/b", TaskStatus.FAILED)],
    [0, { case: "runFinished", value: { status: RunStatus.FAILED } }],
    [40, { case: "runCommented", value: { text: "the mirror was down" } }],
  );
  expect(runFlow("run_1", events, startMs + 1_000)).toMatchObject({ leadTimeMs: 16n, status: RunStatus.FAILED });
  const again = told(
    [56, { case: "tasksReopened", value: { tasks: ["s/b"], named: ["s/b"] } }],
    [0, waits("s/b", WaitCause.PREPARING)],
    [2, started("s/b")],
    [7, finished("s/b")],
    [0, ended],
    [99, { case: "runPinned", value: {} }],
  );
  const flow = runFlow("run_1", [...events, ...again], startMs + 1_000);
  expect(flow).toMatchObject({ leadTimeMs: 65n, status: RunStatus.SUCCEEDED });
  const [waited, ...tail] = shown(flow).slice(-4);
  expect([waited, ...tail]).toEqual(["s/b process 5", "s/b RERUN 40", "s/b PREPARING 2", "s/b process 7"]);
  expectExact(flow);
});

test("a gate that people took long to decide is the bottleneck", () => {
  const flow = runFlow(
    "run_1",
    told(
      [0, requested],
      [0, plan({ "build/app": [], "explore/approval": ["build/app"] })],
      [1, submitted("build/app")],
      [0, started("build/app")],
      [400, finished("build/app")],
      [0, waits("explore/approval", WaitCause.GATE)],
      [3_600_000, finished("explore/approval")],
      [0, ended],
    ),
    0,
  );
  expect(flow.bottleneck).toMatchObject({ stage: "explore", wait: WaitCause.GATE, durationMs: 3_600_000n });
});

test("a run that goes on is measured up to now, through the need that is still open", () => {
  const events = told(
    [0, requested],
    [0, plan({ "s/a": [], "s/b": ["s/a"] })],
    [2, submitted("s/a")],
    [0, started("s/a")],
  );
  const flow = runFlow("run_1", events, startMs + 50);
  expect(shown(flow)).toEqual(["s/a PREPARING 2", "s/a process 48"]);
  expect(flow.leadTimeMs).toBe(50n);
});

test("a clock that is set back takes no time away and does not spoil what follows", () => {
  const flow = runFlow(
    "run_1",
    told(
      [0, requested],
      [0, plan({ "s/t": [] })],
      [10, submitted("s/t")],
      [-3_600_000, started("s/t")],
      [40, finished("s/t")],
      [0, ended],
    ),
    0,
  );
  expect(shown(flow)).toEqual(["s/t PREPARING 10", "s/t process 40"]);
  expect(flow.leadTimeMs).toBe(50n);
});

/** Whatever happened, the segments lie end to end, none is negative, and they sum to the lead time exactly. */
function expectExact(flow: RunFlow): void {
  let atMs = 0n;
  for (const { fromMs, durationMs } of flow.segments) {
    expect(fromMs).toBe(atMs);
    expect(durationMs > 0n).toBe(true);
    atMs += durationMs;
  }
  expect(atMs).toBe(flow.leadTimeMs);
  const inStages = flow.stages.reduce(
    (sum, { processMs, waits: causes }) => causes.reduce((all, wait) => all + wait.durationMs, sum + processMs),
    0n,
  );
  const nobodys = flow.segments.filter(({ task }) => task === "").reduce((sum, it) => sum + it.durationMs, 0n);
  expect(inStages + nobodys).toBe(flow.leadTimeMs);
}

const gate = { title: "Look", onTimeout: GateDecision.REJECTED };

/** A random graph whose edges go back only, with a gate here and there. */
const graphs: fc.Arbitrary<PlannedTask[]> = fc
  .array(fc.tuple(fc.array(fc.nat(), { maxLength: 3 }), fc.boolean()), { minLength: 1, maxLength: 10 })
  .map((nodes) =>
    nodes.map(([needs, isGate], index) =>
      create(PlannedTaskSchema, {
        stage: `s${index % 3}`,
        name: `t${index}`,
        needs: [...new Set(index === 0 ? [] : needs.map((need) => `s${(need % index) % 3}/t${need % index}`))],
        ...(isGate && index % 4 === 3 ? { gate } : {}),
      }),
    ),
  );

const causes = [WaitCause.AGENTS_BUSY, WaitCause.NO_AGENT_MATCHES, WaitCause.AGENT_LOST] as const;

/** Something that may happen to a run whose tasks have these names. */
function commandsFor(names: readonly string[]): fc.Arbitrary<RunCommand> {
  const task = fc.constantFrom(...names);
  const status = fc.constantFrom(TaskStatus.SUCCEEDED, TaskStatus.SUCCEEDED, TaskStatus.FAILED, TaskStatus.CANCELLED);
  return fc.oneof(
    task.map((name): RunCommand => ({ kind: "submit", task: name, actionDigest: digest, executionId: name })),
    fc
      .tuple(task, fc.integer({ min: 1, max: 3 }))
      .map(([name, attempt]): RunCommand => ({ kind: "start", task: name, attempt, agent: "a", executionId: name })),
    fc
      .tuple(task, fc.constantFrom(...causes))
      .map(([name, cause]): RunCommand => ({ kind: "wait", task: name, cause, detail: "" })),
    fc
      .tuple(task, status)
      .map(([name, outcome]): RunCommand => ({ kind: "finish", task: name, outcome: { status: outcome } })),
    { arbitrary: fc.constant<RunCommand>({ kind: "cancel", reason: "enough" }), weight: 1 },
  );
}

const stories = (stepMs: fc.Arbitrary<number>) =>
  graphs.chain((tasks) =>
    fc.record({
      tasks: fc.constant(tasks),
      happenings: fc.array(fc.tuple(stepMs, commandsFor(tasks.map(({ stage, name }) => `${stage}/${name}`))), {
        maxLength: 60,
      }),
      restMs: stepMs,
    }),
  );

interface Story {
  readonly tasks: PlannedTask[];
  readonly happenings: (readonly [number, RunCommand])[];
  readonly restMs: number;
}

test("segments sum exactly to the lead time of runs that are paused, retried, skipped and re-run", () => {
  fc.assert(
    fc.property(randomStories, fc.array(fc.nat({ max: 5_000 }), { minLength: 1, maxLength: 20 }), (story, steps) => {
      const { do: perform, events } = startStory(story.tasks);
      let nowMs = 1_000;
      for (const [index, command] of story.commands.entries()) {
        nowMs += steps[index % steps.length] ?? 0;
        try {
          perform(command, nowMs);
        } catch (error) {
          expect(from(error).code).not.toBe("internal"); // it was refused
        }
      }
      expectExact(runFlow("run_1", events, nowMs));
    }),
    { numRuns: runs(300) },
  );
});

/** The events of a story as the run itself decides them, and its last moment. */
function eventsOf({ tasks, happenings, restMs }: Story): { events: Event[]; nowMs: number } {
  const state = emptyRun("run_1");
  let nowMs = startMs;
  const origin = () => ({ principal: "token:t", project: "p", traceparent: "", nowMs });
  const request = {
    kind: "request",
    pipeline: "p",
    pipelinePath: "",
    source: digest,
    idempotencyKey: "",
    tasks,
  } as const;
  const events = decide(state, request, origin());
  for (const [stepMs, command] of happenings) {
    nowMs += stepMs;
    events.push(...decide(state, command, origin()));
  }
  return { events, nowMs: nowMs + restMs };
}

test("segments sum exactly to the lead time, which is the time from request to end, whatever happened", () => {
  fc.assert(
    fc.property(stories(fc.integer({ min: 0, max: 10_000 })), (story) => {
      const { events, nowMs } = eventsOf(story);
      const flow = runFlow("run_1", events, nowMs);
      expectExact(flow);
      const finish = events.at(-1)?.kind.case === "runFinished" ? events.at(-1)?.time : timestampFromMs(nowMs);
      const elapsed = (Number(finish?.seconds) - startMs / 1_000) * 1_000 + (finish?.nanos ?? 0) / 1e6;
      expect(Number(flow.leadTimeMs)).toBe(Math.round(elapsed));
    }),
    { numRuns: runs(500) },
  );
});

test("they do so as well when the clock jumps to and fro", () => {
  fc.assert(
    fc.property(stories(fc.integer({ min: -100_000, max: 100_000 })), (story) => {
      const { events, nowMs } = eventsOf(story);
      expectExact(runFlow("run_1", events, nowMs));
    }),
    { numRuns: runs(500) },
  );
});

test("and for events in an order that no run would give, with tasks that nobody planned", () => {
  const task = fc.constantFrom("s/a", "s/b", "s/c", "s/unknown");
  const kind = fc.oneof(
    task.map(submitted),
    task.map(started),
    task.map((name) => finished(name)),
    task.map((name): Kind => ({ case: "taskSkipped", value: { task: name, reason: "" } })),
    fc.tuple(task, fc.constantFrom(...causes, WaitCause.NEEDS)).map(([name, cause]) => waits(name, cause)),
    fc.constant(ended),
    fc.constant(plan({ "s/a": [], "s/b": ["s/a"], "s/c": ["s/unknown"] })),
    // A circle, which no plan has.
    fc.constant(plan({ "s/a": ["s/b"], "s/b": ["s/a"], "s/c": ["s/unknown", "s/a"] })),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: -50, max: 500 }), kind), { maxLength: 30 }), (steps) => {
      expectExact(runFlow("run_1", told([0, requested], ...steps), startMs + 1_000));
    }),
    { numRuns: runs(500) },
  );
});

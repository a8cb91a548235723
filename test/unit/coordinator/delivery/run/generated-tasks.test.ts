import { create, equals } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { runTimeline } from "../../../../../coordinator/delivery/insight/run-timeline.ts";
import { decide } from "../../../../../coordinator/delivery/run/decide.ts";
import type { Origin, RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun, evolve, type RunState } from "../../../../../coordinator/delivery/run/run-state.ts";
import { runView } from "../../../../../coordinator/delivery/run/run-view.ts";
import { isOpen } from "../../../../../coordinator/delivery/run/task-state.ts";
import {
  EndingKind,
  type Event,
  type PlannedTask,
  PlannedTaskSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { RunSchema } from "../../../../../proto/gen/millrace/v1/run_pb.ts";
import { digestToMessage, emptyDigest } from "../../../../../shared/digest.ts";

const origin: Origin = { principal: "token:test", project: "default", traceparent: "", nowMs: 1_000 };
const source = digestToMessage(emptyDigest);

/** `verify/unit` with the needs `verify/a build/b`. */
function planned(id: string, needs = "", extra: Partial<PlannedTask> = {}): PlannedTask {
  const [stage = "", name = ""] = id.split("/");
  return create(PlannedTaskSchema, { stage, name, needs: needs === "" ? [] : needs.split(" "), ...(extra as object) });
}

function requested(tasks: readonly PlannedTask[]): { state: RunState; events: Event[] } {
  const state = emptyRun("run_1");
  const about = { pipeline: "p", pipelinePath: "millrace.yaml", source, idempotencyKey: "" };
  return { state, events: decide(state, { kind: "request", ...about, tasks }, origin) };
}

function finish(
  task: string,
  generated?: readonly PlannedTask[],
  status: TaskStatus = TaskStatus.SUCCEEDED,
): RunCommand {
  const ending = { kind: EndingKind.EXITED, exitCode: status === TaskStatus.SUCCEEDED ? 0 : 1 };
  return { kind: "finish", task, outcome: { status, ending }, ...(generated === undefined ? {} : { generated }) };
}

const pipeline = [
  planned("verify/discover", "", { generates: "tasks.yaml" }),
  planned("verify/lint"),
  planned("ship/pack", "verify/discover verify/lint"),
  planned("after/last", "ship/pack"),
];

const causes = ({ tasks }: RunState) => [...tasks.values()].map(({ name, wait }) => [name, wait?.cause]);

test("what was written begins at once, and who needs the stage needs it, too", () => {
  const { state } = requested(pipeline);
  decide(state, finish("verify/lint"), origin);
  const events = decide(
    state,
    finish("verify/discover", [
      planned("verify/a", "verify/discover"),
      planned("verify/b", "verify/a verify/discover"),
    ]),
    origin,
  );
  expect(events.map(({ kind }) => kind.case)).toEqual(["taskFinished", "tasksGenerated", "taskWaiting", "taskWaiting"]);
  expect(causes(state)).toEqual([
    ["verify/discover", undefined],
    ["verify/a", WaitCause.PREPARING],
    ["verify/b", WaitCause.NEEDS],
    ["verify/lint", undefined],
    ["ship/pack", WaitCause.NEEDS],
    ["after/last", WaitCause.NEEDS],
  ]);
  expect(state.tasks.get("ship/pack")?.planned.needs).toEqual([
    ...["verify/discover", "verify/lint", "verify/a", "verify/b"],
  ]);
  for (const name of ["verify/a", "verify/b", "ship/pack"]) decide(state, finish(name), origin);
  expect(state.status).toBe(RunStatus.RUNNING);
  decide(state, finish("after/last"), origin);
  expect(state.status).toBe(RunStatus.SUCCEEDED);
});

test("the plan of other runs is not touched", () => {
  const { state } = requested(pipeline);
  decide(state, finish("verify/discover", [planned("verify/a", "verify/discover")]), origin);
  expect(pipeline[2]?.needs).toEqual(["verify/discover", "verify/lint"]);
});

test("a written task that fails leaves out what needs its stage, and one whose need has failed does not begin", () => {
  const { state } = requested(pipeline);
  decide(state, finish("verify/lint", undefined, TaskStatus.FAILED), origin);
  decide(state, finish("verify/discover", [planned("verify/a", "verify/discover verify/lint")]), origin);
  expect(state.tasks.get("verify/a")).toMatchObject({
    status: TaskStatus.SKIPPED,
    skipReason: "needs verify/lint, which failed",
  });
  expect(state.status).toBe(RunStatus.FAILED);
});

test("what written tasks write is needed by those that need the stage; a task that always runs comes after all of them", () => {
  const { state } = requested([...pipeline, planned("verify/clean", "verify/discover verify/lint", { always: true })]);
  decide(state, finish("verify/lint"), origin);
  decide(
    state,
    finish("verify/discover", [planned("verify/a", "verify/discover", { generates: "tasks.yaml" })]),
    origin,
  );
  decide(state, finish("verify/a", [planned("verify/a1", "verify/discover verify/a")]), origin);
  expect(state.tasks.get("ship/pack")?.planned.needs).toContain("verify/a1");
  expect(state.tasks.get("verify/clean")?.wait?.cause).toBe(WaitCause.NEEDS);
  decide(state, finish("verify/a1"), origin);
  expect(state.tasks.get("verify/clean")?.wait?.cause).toBe(WaitCause.PREPARING);
});

test("when the run was cancelled, nothing new comes into it", () => {
  const { state } = requested(pipeline);
  decide(state, { kind: "submit", task: "verify/discover", actionDigest: source, executionId: "x" }, origin);
  decide(state, { kind: "cancel", reason: "enough" }, origin);
  const events = decide(state, finish("verify/discover", [planned("verify/a", "verify/discover")]), origin);
  expect(events.map(({ kind }) => kind.case)).toEqual(["taskFinished", "runFinished"]);
});

test("what a task wrote is what it wrote last: asked for again, it may write more, less or nothing", () => {
  const { state } = requested(pipeline);
  const write = (...names: string[]) =>
    finish(
      "verify/discover",
      names.map((name) => planned(name, "verify/discover")),
    );
  decide(state, finish("verify/lint"), origin);
  decide(state, write("verify/a", "verify/b"), origin);
  for (const name of ["verify/a", "verify/b", "ship/pack", "after/last"]) decide(state, finish(name), origin);
  const again = (): void => {
    const how = { avoidAgents: [], avoidLastAgent: false, bypassCache: false };
    decide(state, { kind: "reopen", tasks: ["verify/discover"], ...how }, origin);
  };
  again();
  expect(state.status).toBe(RunStatus.RUNNING);
  decide(state, write("verify/b", "verify/c"), origin);
  expect([...state.tasks.keys()]).toEqual([
    ...["verify/discover", "verify/b", "verify/c", "verify/lint", "ship/pack", "after/last"],
  ]);
  expect(state.tasks.get("verify/b")?.tries).toHaveLength(1);
  expect(state.tasks.get("ship/pack")?.planned.needs).toEqual([
    ...["verify/discover", "verify/lint", "verify/b", "verify/c"],
  ]);
  for (const name of ["verify/b", "verify/c", "ship/pack", "after/last"]) decide(state, finish(name), origin);
  again();
  decide(state, write(), origin);
  expect([...state.tasks.keys()]).toEqual(["verify/discover", "verify/lint", "ship/pack", "after/last"]);
  for (const name of ["ship/pack", "after/last"]) decide(state, finish(name), origin);
  expect(state.status).toBe(RunStatus.SUCCEEDED);
});

function isBegun(kind: Event["kind"]): kind is Extract<Event["kind"], { case: "taskWaiting" }> {
  return kind.case === "taskWaiting" && kind.value.wait?.cause === WaitCause.PREPARING;
}

const stories = fc.array(
  fc.record({ pick: fc.nat(), failed: fc.boolean(), count: fc.integer({ min: 0, max: 3 }), reopen: fc.boolean() }),
  { maxLength: 40, size: "max" },
);

test("whatever is written and asked for again, the log gives the same run, needs come first, and the run ends", () => {
  fc.assert(
    fc.property(stories, (story) => {
      const { state, events } = requested(pipeline);
      const play = (command: RunCommand) => {
        const news = decide(state, command, origin);
        const begun = news.flatMap(({ kind }) => (isBegun(kind) ? [kind.value.task] : []));
        expect(new Set(begun).size).toBe(begun.length);
        events.push(...news);
      };
      let made = 0;
      const end = (pick: number, failed: boolean, count: number): boolean => {
        const ready = [...state.tasks.values()].filter(({ wait }) => wait?.cause === WaitCause.PREPARING);
        const task = ready[pick % Math.max(1, ready.length)];
        if (task === undefined) return false;
        const written = Array.from({ length: count }, (_, index) => {
          made += index % 2;
          return planned(`verify/w${made}-${index}-${task.name.replace("/", "-")}`, task.name, {
            generates: "tasks.yaml",
          });
        });
        const generates = task.planned.generates !== "" && !failed ? written : undefined;
        play(finish(task.name, generates, failed ? TaskStatus.FAILED : TaskStatus.SUCCEEDED));
        return true;
      };
      for (const { pick, failed, count, reopen } of story) {
        const ended = [...state.tasks.values()].filter((task) => !isOpen(task));
        const one = ended[pick % Math.max(1, ended.length)];
        if (reopen && one !== undefined) {
          const how = { avoidAgents: [], avoidLastAgent: false, bypassCache: false };
          play({ kind: "reopen", tasks: [one.name], ...how });
        } else end(pick, failed && pick % 3 === 0, count);
        const order = [...state.tasks.keys()];
        for (const { name, planned: task } of state.tasks.values()) {
          for (const need of task.needs) expect(order.indexOf(need)).toBeLessThan(order.indexOf(name));
          for (const need of task.needs) expect(order).toContain(need);
        }
      }
      while (end(0, false, 0));
      expect(state.status).not.toBe(RunStatus.RUNNING);
      const again = emptyRun("run_1");
      for (const event of events) evolve(again, event);
      expect(equals(RunSchema, runView(again), runView(state))).toBe(true);
      expect([...runTimeline(events, 2_000).tasks.keys()]).toEqual([...state.tasks.keys()]);
    }),
  );
});

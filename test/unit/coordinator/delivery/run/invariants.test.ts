import { create, equals, fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun, evolve, type RunState } from "../../../../../coordinator/delivery/run/run-state.ts";
import { runView } from "../../../../../coordinator/delivery/run/run-view.ts";
import { isOpen, isPassed, type TaskState } from "../../../../../coordinator/delivery/run/task-state.ts";
import {
  type Event,
  EventSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { RunSchema } from "../../../../../proto/gen/millrace/v1/run_pb.ts";
import { from } from "../../../../../shared/errors.ts";
import { type RandomStory, randomStories } from "../../../../support/random-stories.ts";
import { type Story, startStory } from "../../../../support/story.ts";

/** What a person is refused is told to nobody else. */
const refusals = ["failed_precondition", "resource_exhausted", "permission_denied"];

/** Plays a story an hour a step, so that whatever waits for its time is due; `look` sees what followed from each. */
function play(
  { tasks, concurrency, commands }: RandomStory,
  look: (story: Story, events: readonly Event[]) => void,
): Story {
  const story = startStory(tasks, concurrency);
  look(story, story.events);
  for (const [index, command] of commands.entries()) look(story, attempt(story, command, (index + 1) * 3_600_000));
  return story;
}

function attempt(story: Story, command: RunCommand, nowMs: number): readonly Event[] {
  const before = story.state.sequence;
  try {
    return story.do(command, nowMs);
  } catch (error) {
    expect(refusals).toContain(from(error).code);
    expect(story.state.sequence).toBe(before); // a refusal has changed nothing
    return [];
  }
}

function tasksOf({ tasks }: RunState): TaskState[] {
  return [...tasks.values()];
}

/** What no view shows and decisions hang on. */
function hidden({ round, retries, notBefore, avoidAgents, bypassCache, passed, unmetNeeds }: TaskState) {
  return { round, retries, notBefore, avoidAgents, bypassCache, passed, unmetNeeds };
}

test("folding the events anew, from their bytes, gives the same run, whatever happened", () => {
  fc.assert(
    fc.property(randomStories, (told) => {
      const { state, events } = play(told, () => undefined);
      const again = emptyRun("run_1");
      for (const event of events) evolve(again, fromBinary(EventSchema, toBinary(EventSchema, event)));
      expect(equals(RunSchema, runView(again), runView(state))).toBe(true);
      expect(tasksOf(again).map(hidden)).toEqual(tasksOf(state).map(hidden));
    }),
  );
});

test("a run is finished exactly when no task is open", () => {
  fc.assert(
    fc.property(randomStories, (told) => {
      play(told, ({ state, events }) => {
        const open = tasksOf(state).filter(isOpen).length;
        expect(state.open).toBe(open);
        expect(state.status === RunStatus.RUNNING).toBe(open > 0);
        const last = events.findLast(({ kind }) => kind.case === "runFinished" || kind.case === "tasksReopened");
        expect(last?.kind.case === "runFinished").toBe(open === 0);
      });
    }),
  );
});

test("nothing begins before all it needs has ended, and only what wants any end begins after a bad one", () => {
  fc.assert(
    fc.property(randomStories, (told) => {
      play(told, ({ state }) => {
        for (const task of tasksOf(state)) {
          const needs = task.planned.needs.flatMap((name) => state.tasks.get(name) ?? []);
          expect(task.unmetNeeds).toBe(needs.filter(isOpen).length);
          const isBegun = task.wait?.cause === WaitCause.PREPARING || task.status === TaskStatus.RUNNING;
          if (!isBegun && task.gate === undefined) continue;
          if (isOpen(task)) expect(needs.filter(isOpen)).toEqual([]);
          const isAnyEnd = task.planned.always || task.planned.when !== "";
          if (isOpen(task) && !isAnyEnd) expect(needs.every(isPassed)).toBe(true);
        }
      });
    }),
  );
});

test("no task has two executions at one time, and no execution is begun twice", () => {
  fc.assert(
    fc.property(randomStories, (told) => {
      const live = new Map<string, number>();
      const rounds = new Map<string, number>();
      play(told, ({ state }, events) => {
        for (const { kind } of events) {
          if (kind.case === "taskSubmitted") {
            expect(live.get(kind.value.task) ?? 0).toBe(0);
            live.set(kind.value.task, 1);
          } else if (kind.case === "taskFinished" || kind.case === "taskRetried" || kind.case === "taskHeldBack") {
            live.set(kind.value.task, 0);
          } else if (kind.case === "taskSkipped") {
            live.set(kind.value.task, 0);
          } else if (kind.case === "tasksReopened") {
            for (const task of kind.value.tasks) expect(live.get(task) ?? 0).toBe(0);
          }
        }
        for (const { name, round, try: number } of tasksOf(state)) {
          expect(round).toBeGreaterThanOrEqual(rounds.get(name) ?? 1);
          expect(number).toBeLessThanOrEqual(round);
          rounds.set(name, round);
        }
      });
    }),
  );
});

test("a run that is not paused never waits for itself: something of it is with the farm, a person or a timer", () => {
  fc.assert(
    fc.property(randomStories, (told) => {
      play(told, ({ state }) => {
        const open = tasksOf(state).filter(isOpen);
        for (const { wait, status } of open) if (status === TaskStatus.WAITING) expect(wait).toBeDefined();
        if (state.pause !== undefined || open.length === 0) return;
        expect(open.some(({ wait }) => wait?.cause !== WaitCause.NEEDS && wait?.cause !== WaitCause.PAUSED)).toBe(true);
        expect(open.some(({ wait }) => wait?.cause === WaitCause.PAUSED)).toBe(false);
      });
    }),
  );
});

test("asking twice for its end ends a run as soon as the farm has stopped what it has", () => {
  fc.assert(
    fc.property(randomStories, (told) => {
      const story = play(told, () => undefined);
      const { state } = story;
      for (const reason of ["enough", "really"]) attempt(story, { kind: "cancel", reason }, 1e9);
      for (const { name, status } of tasksOf(state)) {
        expect(status).not.toBe(TaskStatus.WAITING);
        const outcome = { status: TaskStatus.CANCELLED };
        if (isOpen({ status })) attempt(story, { kind: "finish", task: name, outcome }, 1e9);
      }
      expect(state.status).not.toBe(RunStatus.RUNNING);
      const statuses = create(RunSchema, runView(state)).tasks.map((task) => task.status);
      expect(statuses.every((status) => status >= TaskStatus.SUCCEEDED)).toBe(true);
    }),
  );
});

import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { decide } from "../../../../../coordinator/delivery/run/decide.ts";
import type { Origin, RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun, type RunState } from "../../../../../coordinator/delivery/run/run-state.ts";
import {
  EndingKind,
  type Event,
  type PlannedTask,
  PlannedTaskSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestToMessage, emptyDigest } from "../../../../../shared/digest.ts";

const origin: Origin = { principal: "token:test", project: "default", traceparent: "00-aa-bb-01", nowMs: 1_000 };
const digest = digestToMessage(emptyDigest);

function planned(name: string, needs: readonly string[]): PlannedTask {
  return create(PlannedTaskSchema, { stage: "s", name, needs: needs.map((need) => `s/${need}`) });
}

function requested(tasks: readonly PlannedTask[]): { state: RunState; events: Event[] } {
  const state = emptyRun("run_1");
  const command = {
    kind: "request",
    pipeline: "p",
    pipelinePath: "millrace.yaml",
    source: digest,
    idempotencyKey: "",
    tasks,
  } as const;
  return { state, events: decide(state, command, origin) };
}

const submit = (task: string): RunCommand => ({ kind: "submit", task, actionDigest: digest, executionId: `x.${task}` });
const start = (task: string, attempt = 1): RunCommand => ({
  kind: "start",
  task,
  attempt,
  agent: "a",
  executionId: `x.${task}`,
});
const finish = (task: string, status: TaskStatus): RunCommand => ({
  kind: "finish",
  task,
  outcome: { status, ending: { kind: EndingKind.EXITED, exitCode: status === TaskStatus.SUCCEEDED ? 0 : 1 } },
});

test("every event carries who caused it, the project, the trace and the time", () => {
  const { events } = requested([planned("a", []), planned("b", ["a"])]);
  expect(events.map(({ kind }) => kind.case)).toEqual(["runRequested", "runPlanned", "taskWaiting", "taskWaiting"]);
  for (const event of events) {
    expect(event).toMatchObject({ principal: "token:test", project: "default", traceparent: "00-aa-bb-01" });
    expect(event.time).toBeDefined();
  }
});

test("a task waits for its needs with the cause, then is prepared when the last has succeeded", () => {
  const { state } = requested([planned("a", []), planned("b", []), planned("c", ["a", "b"])]);
  expect(state.tasks.get("s/c")?.wait).toMatchObject({ cause: WaitCause.NEEDS, detail: "needs s/a, s/b" });
  decide(state, finish("s/a", TaskStatus.SUCCEEDED), origin);
  expect(state.tasks.get("s/c")?.wait?.cause).toBe(WaitCause.NEEDS);
  decide(state, finish("s/b", TaskStatus.SUCCEEDED), { ...origin, nowMs: 5_000 });
  expect(state.tasks.get("s/c")?.wait).toMatchObject({ cause: WaitCause.PREPARING, since: { seconds: 5n } });
});

test("a failure skips all that need it, however far, and says why; the rest goes on", () => {
  const { state } = requested([planned("a", []), planned("b", ["a"]), planned("c", ["b"]), planned("d", [])]);
  decide(state, finish("s/a", TaskStatus.FAILED), origin);
  expect(state.tasks.get("s/b")).toMatchObject({ status: TaskStatus.SKIPPED, skipReason: "needs s/a, which failed" });
  expect(state.tasks.get("s/c")?.skipReason).toBe("needs s/b, which was skipped");
  expect(state.status).toBe(RunStatus.RUNNING);
  decide(state, finish("s/d", TaskStatus.SUCCEEDED), origin);
  expect(state.status).toBe(RunStatus.FAILED);
});

test("cancelling ends what the farm has not been given, and the rest when the farm says so", () => {
  const { state } = requested([planned("a", []), planned("b", ["a"])]);
  decide(state, submit("s/a"), origin);
  decide(state, start("s/a"), origin);
  decide(state, { kind: "cancel", reason: "enough" }, origin);
  expect(state.tasks.get("s/b")?.status).toBe(TaskStatus.CANCELLED);
  expect(state.status).toBe(RunStatus.RUNNING);
  expect(decide(state, { kind: "cancel", reason: "again" }, origin)).toEqual([]);
  decide(state, finish("s/a", TaskStatus.CANCELLED), origin);
  expect(state.status).toBe(RunStatus.CANCELLED);
});

test("what comes late or twice gives no events", () => {
  const { state } = requested([planned("a", []), planned("b", [])]);
  decide(state, submit("s/a"), origin);
  expect(decide(state, submit("s/a"), origin)).toEqual([]);
  decide(state, start("s/a"), origin);
  expect(decide(state, start("s/a"), origin)).toEqual([]);
  decide(state, finish("s/a", TaskStatus.SUCCEEDED), origin);
  expect(decide(state, finish("s/a", TaskStatus.FAILED), origin)).toEqual([]);
  expect(decide(state, start("s/a", 2), origin)).toEqual([]);
});

test("a task that the scheduler has waits to be placed until it says more", () => {
  const { state } = requested([planned("a", [])]);
  decide(state, submit("s/a"), origin);
  expect(state.tasks.get("s/a")?.wait).toMatchObject({ cause: WaitCause.PLACING, since: { seconds: 1n } });
  decide(state, { kind: "wait", task: "s/a", cause: WaitCause.AGENTS_BUSY, detail: "all" }, origin);
  expect(state.tasks.get("s/a")?.wait).toMatchObject({ cause: WaitCause.AGENTS_BUSY, detail: "all" });
});

test("a task whose agent was lost is queued again and starts a second attempt", () => {
  const { state } = requested([planned("a", [])]);
  decide(state, submit("s/a"), origin);
  decide(state, start("s/a"), origin);
  decide(state, { kind: "wait", task: "s/a", cause: WaitCause.AGENT_LOST, detail: "lost" }, origin);
  expect(state.tasks.get("s/a")?.status).toBe(TaskStatus.QUEUED);
  decide(state, start("s/a", 2), origin);
  expect(state.tasks.get("s/a")).toMatchObject({ status: TaskStatus.RUNNING, attempts: 2 });
});

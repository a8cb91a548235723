import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test, vi } from "vitest";
import type { Principal } from "../../../../../coordinator/delivery/access/principal.ts";
import { decide } from "../../../../../coordinator/delivery/run/decide.ts";
import { bindingOf } from "../../../../../coordinator/delivery/run/gate-binding.ts";
import type { Origin, RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun, evolve, type RunState } from "../../../../../coordinator/delivery/run/run-state.ts";
import { taskTimers } from "../../../../../coordinator/delivery/run/task-timers.ts";
import {
  ConcurrencyGroupSchema,
  EndingKind,
  type Event,
  GateDecision,
  type PlannedTask,
  PlannedTaskSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, digestToMessage } from "../../../../../shared/digest.ts";
import { limits } from "../../../../../shared/limits.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";
import { plannedTask, startStory } from "../../../../support/story.ts";

const hour = 3_600_000;
const digest = (text: string) => digestToMessage(digestOf(Buffer.from(text)));
const at = (nowMs: number, principal = "token:qa"): Origin => ({ principal, project: "p", traceparent: "", nowMs });
const qa: Principal = { name: "token:qa", role: "developer" };

function planned(stage: string, name: string, needs: readonly string[]): PlannedTask {
  return create(PlannedTaskSchema, { stage, name, needs: [...needs] });
}

function gate(more: { approvers?: string[]; onTimeout?: GateDecision } = {}): PlannedTask {
  return create(PlannedTaskSchema, {
    ...{ stage: "explore", name: "approval", needs: ["verify/unit"] },
    gate: { title: "Look", timeout: durationFromMs(48 * hour), onTimeout: GateDecision.REJECTED, ...more },
  });
}

interface Story {
  readonly state: RunState;
  readonly events: Event[];
  do(command: RunCommand, origin?: Origin): Event[];
}

function story(asked = gate(), source = "source"): Story {
  const state = emptyRun("run_1");
  const events: Event[] = [];
  const perform = (command: RunCommand, origin = at(1_000)) => {
    const followed = decide(state, command, origin);
    events.push(...followed);
    return followed;
  };
  const tasks = [
    planned("build", "compile", []),
    planned("verify", "unit", ["build/compile"]),
    asked,
    planned("ship", "upload", ["explore/approval"]),
  ];
  perform({
    ...{ kind: "request", pipeline: "shop", pipelinePath: "millrace.yaml", idempotencyKey: "" },
    ...{ source: digest(source), tasks },
  });
  return { state, events, do: perform };
}

const made = (task: string, name: string, content: string): RunCommand => ({
  kind: "finish",
  task,
  outcome: {
    status: TaskStatus.SUCCEEDED,
    artifacts: [{ name, task, content: { case: "file", value: digest(content) } }],
  },
});

/** A story whose gate is open. */
function opened(asked = gate(), { source = "source", app = "app" } = {}): Story {
  const told = story(asked, source);
  told.do(made("build/compile", "app", app));
  told.do(made("verify/unit", "report", "fine"));
  return told;
}

function hashOf({ state }: Story): string {
  const task = state.tasks.get("explore/approval");
  if (task === undefined) throw new Error("no gate");
  return bindingOf(state, task).digest.hash;
}

function word(told: Story, more: Partial<Extract<RunCommand, { kind: "decide-gate" }>> = {}): RunCommand {
  const base = { kind: "decide-gate", stage: "explore", decision: GateDecision.APPROVED, comment: "" } as const;
  return { ...base, binding: hashOf(told), by: qa, fields: {}, checked: [], newer: undefined, ...more };
}

const statusOf = ({ state }: Story, task: string) => state.tasks.get(task)?.status;

test("a gate opens when all it needs has succeeded, says who may decide, and is not prepared as a task would be", () => {
  const told = story(gate({ approvers: ["qa", "admin"] }));
  told.do(made("build/compile", "app", "app"));
  const followed = told.do(made("verify/unit", "report", "fine"), at(5_000));
  expect(followed.map(({ kind }) => kind.case)).toEqual(["taskFinished", "gateOpened", "taskWaiting"]);
  expect(told.state.tasks.get("explore/approval")).toMatchObject({
    status: TaskStatus.WAITING,
    wait: {
      cause: WaitCause.GATE,
      detail: '"Look": qa or admin may decide, by millrace approve run_1 explore',
    },
    gate: { deadline: { seconds: BigInt(5 + 48 * 3_600) } },
  });
});

test("a gate that needs nothing is open from the beginning, and binds the source", () => {
  const asked = gate();
  asked.needs = [];
  const told = story(asked);
  expect(told.state.tasks.get("explore/approval")?.wait?.cause).toBe(WaitCause.GATE);
  expect(hashOf(told)).not.toBe(hashOf(story(asked, "other")));
  told.do(word(told));
  expect(statusOf(told, "explore/approval")).toBe(TaskStatus.SUCCEEDED);
});

test("an approval is recorded with who gave it and what it binds, and the run goes on", () => {
  const told = opened();
  const followed = told.do(word(told, { comment: "well done" }), at(9_000));
  expect(followed.map(({ kind }) => kind.case)).toEqual(["gateVoted", "gateDecided", "taskFinished", "taskWaiting"]);
  expect(followed[1]).toMatchObject({
    principal: "token:qa",
    kind: { value: { comment: "well done", timedOut: false, binding: { hash: hashOf(told) } } },
  });
  expect(statusOf(told, "explore/approval")).toBe(TaskStatus.SUCCEEDED);
  expect(told.state.tasks.get("ship/upload")?.wait?.cause).toBe(WaitCause.PREPARING);
});

test("a rejection fails the stage, skips what needs it and fails the run", () => {
  const told = opened();
  told.do(word(told, { decision: GateDecision.REJECTED, comment: "refunds are wrong" }));
  expect(told.state.tasks.get("explore/approval")?.outcome?.ending).toMatchObject({
    kind: EndingKind.REJECTED,
    detail: "by token:qa: refunds are wrong",
  });
  expect(statusOf(told, "ship/upload")).toBe(TaskStatus.SKIPPED);
  expect(told.state.status).toBe(RunStatus.FAILED);
});

test("the binding is another one when the source or any artifact upstream is, and the same otherwise", () => {
  expect(hashOf(opened())).toBe(hashOf(opened()));
  const others = [opened(gate(), { source: "other" }), opened(gate(), { app: "other" })];
  expect(new Set([opened(), ...others].map(hashOf)).size).toBe(3);
});

test("a decision about something else than what the gate binds now is refused, and nothing happens", () => {
  const told = opened();
  const stale = hashOf(opened(gate(), { app: "the one that was looked at" }));
  const sequence = told.state.sequence;
  for (const binding of [stale, ""]) {
    expect(() => told.do(word(told, { binding }))).toThrow(
      expect.objectContaining({ code: "failed_precondition", message: expect.stringContaining("now binds") }),
    );
  }
  expect(told.state.sequence).toBe(sequence);
});

test.each([
  ["who is no approver", gate({ approvers: ["ops"] }), {}, "permission_denied", "ops may"],
  [
    "a rejection without a word",
    gate(),
    { decision: GateDecision.REJECTED, comment: " " },
    "invalid_argument",
    "comment",
  ],
  ["a comment without end", gate(), { comment: "x".repeat(10_001) }, "invalid_argument", "10000"],
  ["neither yes nor no", gate(), { decision: GateDecision.UNSPECIFIED }, "invalid_argument", "APPROVED"],
  ["a stage that is not there", gate(), { stage: "explode" }, "not_found", "no stage explode"],
  ["a stage that is not manual", gate(), { stage: "build" }, "failed_precondition", "no manual stage"],
] as const)("refuses %s", (_what, asked, more, code, message) => {
  const told = opened(asked);
  expect(() => told.do(word(told, more))).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(message) }),
  );
});

test("of a run in a concurrency group opens when the run has its place, and its time runs from then", () => {
  const asked = plannedTask("look", [], { gate: { title: "Look", timeout: durationFromMs(hour) } });
  const told = startStory([asked], create(ConcurrencyGroupSchema, { name: "main" }));
  const open = { kind: "open-gate", task: "s/look" } as const;
  expect(told.causes()).toEqual(["preparing"]);
  told.do({ kind: "wait", task: "s/look", cause: WaitCause.CONCURRENCY, detail: "main is full" });
  expect(told.task("look").gate).toBeUndefined();
  told.do({ kind: "pause", reason: "" });
  expect(told.do(open)).toEqual([]);
  told.do({ kind: "resume" });
  told.do(open, 5_000);
  expect(told.causes()).toEqual(["gate"]);
  expect(told.task("look").gate?.deadline).toEqual(timestampFromMs(5_000 + hour));
  expect(told.do(open)).toEqual([]);
  told.do({ kind: "gate-timeout", task: "s/look" }, 5_000 + hour);
  expect(told.do(open)).toEqual([]);
});

test("an approver is named as a token or as a role", () => {
  for (const approver of ["qa", "developer"]) {
    const told = opened(gate({ approvers: [approver] }));
    told.do(word(told));
    expect(statusOf(told, "explore/approval")).toBe(TaskStatus.SUCCEEDED);
  }
});

test("nobody decides before the gate is open, nor after somebody else has; the same word again changes nothing", () => {
  const early = story();
  expect(() => early.do(word(early))).toThrow(/is not open yet: needs verify\/unit/);
  const told = opened();
  told.do(word(told));
  expect(told.do(word(told))).toEqual([]);
  const other = { name: "token:other", role: "admin" } as const;
  expect(() => told.do(word(told, { by: other }))).toThrow(/was approved already, by token:qa/);
  const cancelled = opened();
  cancelled.do({ kind: "cancel", reason: "enough" });
  expect(statusOf(cancelled, "explore/approval")).toBe(TaskStatus.CANCELLED);
  expect(() => cancelled.do(word(cancelled))).toThrow(/is closed/);
});

test("after the deadline the time-out decides, however late its timer fires", () => {
  const told = opened();
  const deadlineMs = 1_000 + 48 * hour;
  expect(() => told.do(word(told), at(deadlineMs))).toThrow(/its time is up/);
  told.do(word(told), at(deadlineMs - 1));
  expect(statusOf(told, "explore/approval")).toBe(TaskStatus.SUCCEEDED);
});

test("when nobody decides in time the stated outcome comes, and not before", () => {
  const timeout = { kind: "gate-timeout", task: "explore/approval", newer: undefined } as const;
  const told = opened();
  expect(told.do(timeout, at(1_000 + 48 * hour - 1))).toEqual([]);
  told.do(timeout, at(1_000 + 48 * hour, "system:runs"));
  expect(told.state.tasks.get("explore/approval")).toMatchObject({
    status: TaskStatus.FAILED,
    outcome: { ending: { kind: EndingKind.TIMED_OUT, detail: "nobody decided within 2d" } },
    gate: { decided: { timedOut: true }, decidedBy: "system:runs" },
  });
  const lenient = opened(gate({ onTimeout: GateDecision.APPROVED }));
  lenient.do(timeout, at(1_000 + 48 * hour));
  expect(statusOf(lenient, "explore/approval")).toBe(TaskStatus.SUCCEEDED);
});

test("the timer of a gate is made anew from the log, meets a deadline that has passed at once, and long ones in steps", async () => {
  const told = opened();
  const clock = fakeClock(1_000);
  const state = emptyRun("run_1");
  for (const event of told.events) evolve(state, event);
  const calls: RunCommand[] = [];
  const run = {
    state,
    async do(command: RunCommand, origin: Origin) {
      calls.push(command);
      decide(state, command, origin);
    },
  };
  const onError = vi.fn();
  const perform = (asked: typeof run, command: RunCommand, origin: Origin) => asked.do(command, origin);
  const deps = { clock, origin: () => at(clock.nowMs(), "system:runs"), perform, onError };
  const first = taskTimers<typeof run>(deps);
  first.resume(run);
  clock.advance(limits.gateTimerStepMs);
  await vi.waitFor(() => expect(calls.length).toBe(1), 10_000);
  expect(state.tasks.get("explore/approval")?.status).toBe(TaskStatus.WAITING);
  first.stop();
  clock.advance(100 * hour);
  expect(calls.length).toBe(1);

  const second = taskTimers<typeof run>(deps);
  second.resume(run);
  clock.advance(0);
  await vi.waitFor(() => expect(state.tasks.get("explore/approval")?.status).toBe(TaskStatus.FAILED), 10_000);
  expect(onError).not.toHaveBeenCalled();
});

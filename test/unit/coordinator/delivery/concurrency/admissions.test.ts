import { create } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Admissions, admissions } from "../../../../../coordinator/delivery/concurrency/admissions.ts";
import { decide } from "../../../../../coordinator/delivery/run/decide.ts";
import { couldBegin } from "../../../../../coordinator/delivery/run/decide-run.ts";
import type { RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { emptyRun, type RunState } from "../../../../../coordinator/delivery/run/run-state.ts";
import {
  type ConcurrencyGroup,
  ConcurrencyGroupSchema,
  ConcurrencyPolicy,
  EndingKind,
  type Event,
  ManualGateSchema,
  type PlannedTask,
  PlannedTaskSchema,
  ProjectQuotasSchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestToMessage, emptyDigest } from "../../../../../shared/digest.ts";

const digest = digestToMessage(emptyDigest);

interface SimRun {
  readonly state: RunState;
  readonly history: Event[];
}

/** What stands between the admissions and the farm, without a farm: commands come late, but in order for each run. */
function world(runningTasks: number) {
  const runs: SimRun[] = [];
  const pending: { run: SimRun; command: RunCommand }[] = [];
  let nowMs = 1_000;
  let gate: Admissions<SimRun> = open();

  function open() {
    return admissions<SimRun>({
      quotasOf: () => create(ProjectQuotasSchema, { runningTasks }),
      onTurn: (run, task) => pending.push({ run, command: waiting(task, WaitCause.PREPARING) }),
      onSuperseded(run, task, reason) {
        if (task === undefined) pending.push({ run, command: { kind: "cancel", reason } });
        else pending.push({ run, command: { kind: "supersede", task, reason } });
        for (const { name, status } of run.state.tasks.values()) {
          const runs = status === TaskStatus.QUEUED || status === TaskStatus.RUNNING;
          if (runs && (task === undefined || task === name)) pending.push({ run, command: cancelled(name) });
        }
      },
    });
  }

  function begin(run: SimRun, name: string): void {
    const task = run.state.tasks.get(name);
    if (task === undefined) return;
    const cause = task.wait?.cause;
    if (cause === WaitCause.CONCURRENCY || cause === WaitCause.QUOTA) {
      if (gate.waitOf(run.state.run, name) === undefined) {
        pending.push({ run, command: waiting(name, WaitCause.PREPARING) });
      }
    } else if (cause === WaitCause.PREPARING) {
      const mayPrepare = gate.mayPrepare(run, task);
      if (mayPrepare && task.planned.gate !== undefined) {
        return void pending.push({ run, command: { kind: "open-gate", task: name } });
      }
      const may = mayPrepare && gate.maySubmit(run, task);
      const wait = gate.waitOf(run.state.run, name)?.cause ?? WaitCause.UNSPECIFIED;
      const submit = {
        kind: "submit",
        task: name,
        actionDigest: digest,
        executionId: `${run.state.run}.${name}`,
      } as const;
      pending.push({ run, command: may ? submit : waiting(name, wait) });
    }
  }

  function apply(run: SimRun, command: RunCommand): void {
    nowMs += 1;
    const project = "default";
    const events = decide(run.state, command, { principal: "token:test", project, traceparent: "", nowMs });
    run.history.push(...events);
    for (const event of events) {
      gate.react(run, event);
      if (event.kind.case === "taskWaiting") begin(run, event.kind.value.task);
    }
  }

  return {
    runs,
    request(tasks: readonly PlannedTask[], concurrency: ConcurrencyGroup | undefined): void {
      const run = { state: emptyRun(`run_${runs.length + 1}`), history: [] };
      runs.push(run);
      const about = { pipeline: "p", pipelinePath: "millrace.yaml", source: digest, idempotencyKey: "" };
      apply(run, { kind: "request", ...about, tasks, concurrency });
    },
    apply,
    /** Lets one of the commands that are under way arrive: the first of any run. */
    deliver(pick: number): void {
      const first = new Map<SimRun, number>();
      for (const [index, { run }] of pending.entries()) if (!first.has(run)) first.set(run, index);
      const indexes = [...first.values()];
      const index = indexes[pick % Math.max(1, indexes.length)];
      if (index === undefined) return;
      const [next] = pending.splice(index, 1);
      if (next !== undefined) apply(next.run, next.command);
    },
    deliverAllOf(run: SimRun | undefined): void {
      for (let index = 0; index >= 0; ) {
        index = pending.findIndex((one) => one.run === run);
        const [next] = index < 0 ? [] : pending.splice(index, 1);
        if (next !== undefined) apply(next.run, next.command);
      }
    },
    isQuiet: () => pending.length === 0,
    /** What was under way is lost; what is on disk is taken up. */
    restart(): void {
      pending.length = 0;
      gate = open();
      const unfinished = runs.filter(({ state }) => state.status === RunStatus.RUNNING);
      gate.resume(unfinished);
      for (const run of unfinished) {
        for (const task of run.state.tasks.values()) {
          if (couldBegin(task)) begin(run, task.name);
          else if (task.status === TaskStatus.QUEUED && run.state.cancelReason !== undefined) {
            pending.push({ run, command: cancelled(task.name) });
          }
        }
      }
    },
    given: () =>
      runs.flatMap((run) =>
        [...run.state.tasks.values()]
          .filter(({ status }) => status === TaskStatus.QUEUED)
          .map((task) => ({ run, task })),
      ),
    openGates: () =>
      runs.flatMap((run) =>
        [...run.state.tasks.values()]
          .filter(({ status, gate }) => status === TaskStatus.WAITING && gate !== undefined)
          .map((task) => ({ run, task })),
      ),
  };
}

function waiting(task: string, cause: WaitCause): RunCommand {
  return { kind: "wait", task, cause, detail: "" };
}

function cancelled(task: string): RunCommand {
  const ending = { kind: EndingKind.CANCELLED };
  return { kind: "finish", task, outcome: { status: TaskStatus.CANCELLED, ending } };
}

const groups = fc.option(
  fc.record({ name: fc.constantFrom("a", "b"), supersedes: fc.boolean() }).map(({ name, supersedes }) => {
    const policy = supersedes ? ConcurrencyPolicy.CANCEL_SUPERSEDED : ConcurrencyPolicy.QUEUE;
    return create(ConcurrencyGroupSchema, { name, policy, limit: name === "a" ? 1 : 2 });
  }),
  { nil: undefined },
);
const manual = create(ManualGateSchema, { title: "Look" });
/** A task that may be in a group, or a gate. */
const kinds = fc.oneof(
  { weight: 3, arbitrary: groups.map((concurrency) => (concurrency ? { concurrency } : {})) },
  { weight: 1, arbitrary: fc.constant({ gate: manual }) },
);
const planned = fc.array(kinds, { minLength: 1, maxLength: 3 }).map((own) =>
  own.map((kind, index) => {
    const needs = index === 2 ? ["s/t0"] : [];
    return create(PlannedTaskSchema, { stage: "s", name: `t${index}`, needs, ...kind });
  }),
);
const steps = fc.array(
  fc.oneof(
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("request" as const), tasks: planned, group: groups }) },
    { weight: 6, arbitrary: fc.record({ kind: fc.constant("deliver" as const), pick: fc.nat() }) },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("finish" as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("cancel" as const), pick: fc.nat() }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("restart" as const) }) },
  ),
  { maxLength: 60, size: "max" },
);

function requireBounds({ given, runs }: ReturnType<typeof world>, quota: number): void {
  const counts = new Map<string, number>();
  const count = (key: string) => counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { task } of given()) {
    count("quota");
    if (task.planned.concurrency !== undefined) count(`task ${task.planned.concurrency.name}`);
  }
  for (const { state, history } of runs) {
    const group = history.flatMap(({ kind }) => (kind.case === "runPlanned" ? [kind.value.concurrency] : []))[0];
    const begun = [...state.tasks.values()].some(({ executionId, gate }) => executionId !== "" || gate !== undefined);
    if (group !== undefined && begun && state.status === RunStatus.RUNNING) count(`run ${group.name}`);
  }
  for (const kind of ["task", "run"]) {
    expect(counts.get(`${kind} a`) ?? 0).toBeLessThanOrEqual(1);
    expect(counts.get(`${kind} b`) ?? 0).toBeLessThanOrEqual(2);
  }
  if (quota > 0) expect(counts.get("quota") ?? 0).toBeLessThanOrEqual(quota);
}

test("groups and quotas are kept and every run comes to its end, whatever happens and whenever it is restarted", () => {
  fc.assert(
    fc.property(steps, fc.constantFrom(0, 1, 2), (story, quota) => {
      const farm = world(quota);
      const finish = (pick: number) => {
        const given = [...farm.given(), ...farm.openGates()];
        const one = given[pick % Math.max(1, given.length)];
        const outcome = { status: TaskStatus.SUCCEEDED, ending: { kind: EndingKind.EXITED } };
        if (one !== undefined) farm.apply(one.run, { kind: "finish", task: one.task.name, outcome });
      };
      for (const step of story) {
        if (step.kind === "request") farm.request(step.tasks, step.group);
        else if (step.kind === "deliver") farm.deliver(step.pick);
        else if (step.kind === "finish") finish(step.pick);
        else if (step.kind === "restart") farm.restart();
        else {
          const run = farm.runs[step.pick % Math.max(1, farm.runs.length)];
          if (run !== undefined) farm.apply(run, { kind: "cancel", reason: "enough" });
        }
        requireBounds(farm, quota);
      }
      for (let turn = 0; farm.runs.some(({ state }) => state.status === RunStatus.RUNNING); turn += 1) {
        expect(turn, "a task was forgotten").toBeLessThan(2_000);
        if (farm.isQuiet()) finish(0);
        else farm.deliver(0);
        requireBounds(farm, quota);
      }
    }),
  );
});

test("after a restart, a run that has begun keeps its place until it has ended, and is told again to give way", () => {
  const farm = world(0);
  const group = create(ConcurrencyGroupSchema, { name: "a", limit: 1, policy: ConcurrencyPolicy.CANCEL_SUPERSEDED });
  const task = create(PlannedTaskSchema, { stage: "s", name: "t" });
  farm.request([task], group);
  while (!farm.isQuiet()) farm.deliver(0);
  farm.request([task], group);
  farm.restart();
  farm.deliverAllOf(farm.runs[1]);
  expect(farm.given().map(({ run }) => run.state.run)).toEqual(["run_1"]);
  farm.deliver(0);
  expect(farm.runs[0]?.state.cancelReason).toBe("superseded by run_2");
  expect(farm.given().map(({ run }) => run.state.run)).toEqual(["run_1"]);
  while (!farm.isQuiet()) farm.deliver(0);
  expect(farm.runs[0]?.state.status).toBe(RunStatus.CANCELLED);
  expect(farm.given().map(({ run }) => run.state.run)).toEqual(["run_2"]);
});

test("after a restart, a run whose gate is open has its place still, and the gate of one that waits is closed", () => {
  const farm = world(0);
  const group = create(ConcurrencyGroupSchema, { name: "a", limit: 1, policy: ConcurrencyPolicy.CANCEL_SUPERSEDED });
  const gate = create(PlannedTaskSchema, { stage: "s", name: "t", gate: manual });
  farm.request([gate], group);
  while (!farm.isQuiet()) farm.deliver(0);
  farm.request([gate], group);
  farm.restart();
  farm.deliverAllOf(farm.runs[1]);
  expect(farm.openGates().map(({ run }) => run.state.run)).toEqual(["run_1"]);
  while (!farm.isQuiet()) farm.deliver(0);
  expect(farm.runs[0]?.state.status).toBe(RunStatus.CANCELLED);
  expect(farm.openGates().map(({ run }) => run.state.run)).toEqual(["run_2"]);
});

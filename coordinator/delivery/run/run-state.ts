import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type Event,
  type PlannedTask,
  RunStatus,
  type TaskFinished,
  TaskStatus,
  type Wait,
  WaitCause,
  WaitSchema,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { evolveGate, type GateState, openGate } from "./gate-state.ts";

/**
 * A task of a run:
 *
 *     waiting → queued → running → succeeded | failed | cancelled
 *        |         ↑________|   (its agent was lost)
 *        +→ succeeded (cached) | failed (could not be prepared) | cancelled | skipped
 *
 * The task of a manual stage is never queued: when its needs have succeeded its gate opens, and a decision ends it.
 */
export interface TaskState {
  readonly planned: PlannedTask;
  /** `stage/task`. */
  readonly name: string;
  status: TaskStatus;
  /** Needs that have not succeeded yet; at 0 it can be prepared. */
  unmetNeeds: number;
  wait: Wait | undefined;
  attempts: number;
  agent: string;
  actionDigest: Digest | undefined;
  executionId: string;
  outcome: TaskFinished | undefined;
  skipReason: string;
  /** Undefined before the gate of a manual stage has opened, and for every other task. */
  gate: GateState | undefined;
}

/** A run, folded from its events. Owned by one caller: `evolve` changes it in place, for a run may have 20,000 tasks. */
export interface RunState {
  readonly run: string;
  pipeline: string;
  project: string;
  principal: string;
  traceparent: string;
  status: RunStatus;
  source: Digest | undefined;
  createTime: Timestamp | undefined;
  finishTime: Timestamp | undefined;
  cancelReason: string | undefined;
  /** Kept whatever the settings say of its age. */
  pinned: boolean;
  /** In the order of the plan: needs before those that need them. */
  readonly tasks: Map<string, TaskState>;
  /** Who needs it, by task. */
  readonly dependants: Map<string, string[]>;
  /** Tasks that can still change. */
  open: number;
  /** Of the last event. */
  sequence: number;
}

export function emptyRun(run: string): RunState {
  return {
    run,
    pipeline: "",
    project: "",
    principal: "",
    traceparent: "",
    status: RunStatus.UNSPECIFIED,
    source: undefined,
    createTime: undefined,
    finishTime: undefined,
    cancelReason: undefined,
    pinned: false,
    tasks: new Map(),
    dependants: new Map(),
    open: 0,
    sequence: 0,
  };
}

export function isOpen(task: TaskState): boolean {
  return task.status === TaskStatus.WAITING || task.status === TaskStatus.QUEUED || task.status === TaskStatus.RUNNING;
}

/** Folds one event in. Knows no clock and decides nothing: the same events give the same state, always. */
export function evolve(state: RunState, event: Event): void {
  state.sequence += 1;
  const { kind } = event;
  switch (kind.case) {
    case "runRequested":
      state.pipeline = kind.value.pipeline;
      state.source = kind.value.source;
      state.project = event.project;
      state.principal = event.principal;
      state.traceparent = event.traceparent;
      state.createTime = event.time;
      state.status = RunStatus.RUNNING;
      return;
    case "runPlanned":
      for (const planned of kind.value.tasks) addTask(state, planned);
      return;
    case "taskWaiting":
      return change(state, kind.value.task, (task) => {
        task.wait = kind.value.wait;
        if (task.status === TaskStatus.RUNNING) task.status = TaskStatus.QUEUED;
      });
    case "taskSubmitted":
      return change(state, kind.value.task, (task) => {
        task.status = TaskStatus.QUEUED;
        task.actionDigest = kind.value.actionDigest;
        task.executionId = kind.value.executionId;
        task.wait = placing(event.time);
      });
    case "taskStarted":
      return change(state, kind.value.task, (task) => {
        task.status = TaskStatus.RUNNING;
        task.attempts = kind.value.attempt;
        task.agent = kind.value.agent;
        task.wait = undefined;
      });
    case "taskFinished":
      return change(state, kind.value.task, (task) => close(state, task, kind.value.status, kind.value));
    case "taskSkipped":
      return change(state, kind.value.task, (task) => {
        task.skipReason = kind.value.reason;
        close(state, task, TaskStatus.SKIPPED, undefined);
      });
    case "gateOpened":
      return change(state, kind.value.task, (task) => {
        const { deadline } = kind.value;
        if (deadline !== undefined) task.gate = openGate(deadline);
      });
    case "gateDecided":
    case "gateVoted":
    case "evidenceAdded":
      return change(state, kind.value.task, ({ gate }) => evolveGate(gate, event));
    case "runCancelRequested":
      state.cancelReason = kind.value.reason;
      return;
    case "runFinished":
      state.status = kind.value.status;
      state.finishTime = event.time;
      return;
    case "runPinned":
      state.pinned = true;
      return;
    case "runUnpinned":
      state.pinned = false;
      return;
    case "environmentBound":
    case "environmentDeployed":
    case "runsExpired":
    case "projectSet":
    case "projectRemoved":
    case "secretSet":
    case "secretRemoved":
    case "callAudited":
    case "runPaused":
    case "runResumed":
    case "runCommented":
    case "tasksReopened":
    case "taskRetried":
    case "tasksGenerated":
    case "taskHeldBack":
      // Of another aggregate, or not recorded yet.
      return;
    case undefined:
      // Written by a newer version: it changes nothing that this one knows.
      return;
    default:
      kind satisfies never;
  }
}

/** Until the scheduler says more. */
function placing(since: Timestamp | undefined): Wait {
  return create(WaitSchema, { cause: WaitCause.PLACING, ...(since === undefined ? {} : { since }) });
}

function addTask(state: RunState, planned: PlannedTask): void {
  const name = `${planned.stage}/${planned.name}`;
  state.tasks.set(name, {
    planned,
    name,
    status: TaskStatus.WAITING,
    unmetNeeds: planned.needs.length,
    wait: undefined,
    attempts: 0,
    agent: "",
    actionDigest: undefined,
    executionId: "",
    outcome: undefined,
    skipReason: "",
    gate: undefined,
  });
  for (const need of planned.needs) {
    const dependants = state.dependants.get(need);
    if (dependants === undefined) state.dependants.set(need, [name]);
    else dependants.push(name);
  }
  state.open += 1;
}

function close(state: RunState, task: TaskState, status: TaskStatus, outcome: TaskFinished | undefined): void {
  if (isOpen(task)) state.open -= 1;
  task.status = status;
  task.outcome = outcome;
  task.wait = undefined;
  if (outcome?.actionDigest !== undefined) task.actionDigest = outcome.actionDigest;
  if (status !== TaskStatus.SUCCEEDED) return;
  for (const name of state.dependants.get(task.name) ?? []) {
    const dependant = state.tasks.get(name);
    if (dependant !== undefined) dependant.unmetNeeds -= 1;
  }
}

function change(state: RunState, name: string, apply: (task: TaskState) => void): void {
  const task = state.tasks.get(name);
  if (task !== undefined) apply(task);
}

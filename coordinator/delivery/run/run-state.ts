import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type ConcurrencyGroup,
  type Event,
  type PlannedTask,
  type RunRequested,
  RunStatus,
  type TaskFinished,
  TaskStatus,
  type TasksGenerated,
  type TasksReopened,
  type Wait,
  WaitCause,
  WaitSchema,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { evolveGate, openGate } from "./gate-state.ts";
import { graftGenerated } from "./generated-tasks.ts";
import { beginAnew, isOpen, leaveTry, newTask, type TaskState } from "./task-state.ts";

/** That nothing new of a run begins. */
export interface PauseState {
  readonly reason: string;
  /** A principal. */
  readonly by: string;
  readonly time: Timestamp | undefined;
}

/** What somebody said. */
export interface CommentState {
  /** As `stage/task`; empty for the run as a whole. */
  readonly task: string;
  readonly text: string;
  /** A principal. */
  readonly by: string;
  readonly time: Timestamp | undefined;
}

/** A run, folded from its events. Owned by one caller: `evolve` changes it in place, for a run may have 20,000 tasks. */
export interface RunState {
  readonly run: string;
  pipeline: string;
  /** What was asked for; undefined before that. */
  request: RunRequested | undefined;
  project: string;
  principal: string;
  traceparent: string;
  status: RunStatus;
  source: Digest | undefined;
  createTime: Timestamp | undefined;
  /** When it finished last; undefined while it goes on. */
  finishTime: Timestamp | undefined;
  /** How many tasks failed that may; 0 while it goes on. */
  allowedFailures: number;
  cancelReason: string | undefined;
  /** How often its end was asked for: from the second time on, what is always executed ends, too. */
  cancels: number;
  /** Of the first time. */
  cancelTime: Timestamp | undefined;
  pause: PauseState | undefined;
  readonly comments: CommentState[];
  /**
   * Blobs that its events name and people may ask for: logs of cached results, evidence, pipelines as TypeScript gave them. Also of tries and gates that are
   * over, of which the tasks know no more.
   */
  readonly recorded: Digest[];
  /** Kept whatever the settings say of its age. */
  pinned: boolean;
  /** Of which the run as a whole is a member. */
  concurrency: ConcurrencyGroup | undefined;
  /** In the order of the plan: needs before those that need them. */
  readonly tasks: Map<string, TaskState>;
  /** Who needs it, by task. */
  readonly dependants: Map<string, string[]>;
  /** How often tasks were planned for it: grows when some are added or planned anew. */
  plans: number;
  /** Tasks that can still change. */
  open: number;
  /** Of the last event. */
  sequence: number;
}

export function emptyRun(run: string): RunState {
  return {
    run,
    pipeline: "",
    request: undefined,
    project: "",
    principal: "",
    traceparent: "",
    status: RunStatus.UNSPECIFIED,
    source: undefined,
    createTime: undefined,
    finishTime: undefined,
    allowedFailures: 0,
    cancelReason: undefined,
    cancels: 0,
    cancelTime: undefined,
    pause: undefined,
    comments: [],
    recorded: [],
    pinned: false,
    concurrency: undefined,
    tasks: new Map(),
    dependants: new Map(),
    plans: 0,
    open: 0,
    sequence: 0,
  };
}

/** Folds one event in. Knows no clock and decides nothing: the same events give the same state, always. */
export function evolve(state: RunState, event: Event): void {
  state.sequence += 1;
  const { kind } = event;
  switch (kind.case) {
    case "runRequested":
      return requested(state, kind.value, event);
    case "runPlanned":
      state.plans += 1;
      state.concurrency = kind.value.concurrency;
      for (const planned of kind.value.tasks) addTask(state, planned);
      return;
    case "runCancelRequested":
      state.cancelReason = kind.value.reason;
      state.cancels += 1;
      state.cancelTime ??= event.time;
      return;
    case "runFinished":
      state.status = kind.value.status;
      state.finishTime = event.time;
      state.allowedFailures = kind.value.allowedFailures;
      state.pause = undefined;
      return;
    case "runPinned":
      state.pinned = true;
      return;
    case "runUnpinned":
      state.pinned = false;
      return;
    case "runPaused":
      state.pause = { reason: kind.value.reason, by: event.principal, time: event.time };
      return;
    case "runResumed":
      state.pause = undefined;
      return;
    case "runCommented":
      state.comments.push({ task: kind.value.task, text: kind.value.text, by: event.principal, time: event.time });
      return;
    case "tasksGenerated":
      return addGenerated(state, kind.value);
    case "tasksReopened":
      return reopen(state, kind.value);
    case "taskWaiting":
    case "taskSubmitted":
    case "taskStarted":
    case "taskFinished":
    case "taskSkipped":
    case "taskRetried":
    case "taskHeldBack":
    case "gateOpened":
    case "gateDecided":
    case "gateVoted":
    case "evidenceAdded":
      return evolveTask(state, event);
    case "environmentBound":
    case "environmentDeployed":
    case "runsExpired":
    case "projectSet":
    case "projectRemoved":
    case "secretSet":
    case "secretRemoved":
    case "callAudited":
      // Of another aggregate, or not recorded yet.
      return;
    case undefined:
      // Written by a newer version: it changes nothing that this one knows.
      return;
    default:
      kind satisfies never;
  }
}

function requested(state: RunState, request: RunRequested, event: Event): void {
  state.pipeline = request.pipeline;
  state.request = request;
  state.source = request.source;
  if (request.evaluatedPipeline !== undefined) state.recorded.push(request.evaluatedPipeline);
  state.project = event.project;
  state.principal = event.principal;
  state.traceparent = event.traceparent;
  state.createTime = event.time;
  state.status = RunStatus.RUNNING;
}

/** What happens to one task. */
function evolveTask(state: RunState, event: Event): void {
  const { kind, time } = event;
  switch (kind.case) {
    case "taskWaiting":
      return change(state, kind.value.task, (task) => {
        task.wait = kind.value.wait;
        if (task.wait?.cause !== WaitCause.RETRY_DELAY) task.notBefore = undefined;
        if (task.status === TaskStatus.RUNNING) task.status = TaskStatus.QUEUED;
      });
    case "taskSubmitted":
      return change(state, kind.value.task, (task) => {
        task.status = TaskStatus.QUEUED;
        task.actionDigest = kind.value.actionDigest;
        task.executionId = kind.value.executionId;
        task.wait = placing(time);
      });
    case "taskStarted":
      return change(state, kind.value.task, (task) => {
        task.status = TaskStatus.RUNNING;
        task.attempts = kind.value.attempt;
        task.agent = kind.value.agent;
        task.wait = undefined;
      });
    case "taskFinished":
      if (kind.value.logDigest !== undefined) state.recorded.push(kind.value.logDigest);
      return change(state, kind.value.task, (task) => close(state, task, kind.value.status, kind.value));
    case "taskSkipped":
      return change(state, kind.value.task, (task) => {
        task.skipReason = kind.value.reason;
        task.passed = kind.value.passed;
        close(state, task, TaskStatus.SKIPPED, undefined);
      });
    case "taskRetried":
      return change(state, kind.value.task, (task) => {
        leaveTry(task, TaskStatus.FAILED, kind.value.ending);
        beginAnew(task);
        task.try = kind.value.try;
        task.retries += 1;
        task.notBefore = kind.value.notBefore;
      });
    case "taskHeldBack":
      return change(state, kind.value.task, (task) => {
        // No agent had it, so it is the same try; an agent that was lost has left a log.
        if (task.attempts > 0) leaveTry(task, TaskStatus.CANCELLED, undefined);
        beginAnew(task);
      });
    case "gateOpened":
      return change(state, kind.value.task, (task) => {
        const { deadline } = kind.value;
        if (deadline !== undefined) task.gate = openGate(deadline);
      });
    case "gateDecided":
    case "gateVoted":
      return change(state, kind.value.task, ({ gate }) => evolveGate(gate, event));
    case "evidenceAdded":
      if (kind.value.digest !== undefined) state.recorded.push(kind.value.digest);
      return change(state, kind.value.task, ({ gate }) => evolveGate(gate, event));
    default: // The others are of the run as a whole.
  }
}

/** Tasks that had ended, and all that need them, are as they were before they began; a run that had finished goes on. */
function reopen(state: RunState, { tasks, named, avoidAgents, bypassCache }: TasksReopened): void {
  if (state.status !== RunStatus.RUNNING) {
    state.cancelReason = undefined;
    state.cancels = 0;
    state.cancelTime = undefined;
  }
  state.status = RunStatus.RUNNING;
  state.finishTime = undefined;
  state.allowedFailures = 0;
  const isNamed = new Set(named);
  for (const name of tasks) {
    change(state, name, (task) => {
      if (!isOpen(task)) {
        state.open += 1;
        eachDependant(state, task, (dependant) => {
          dependant.unmetNeeds += 1;
        });
      }
      leaveTry(task, task.status, task.outcome?.ending);
      beginAnew(task);
      task.retries = 0;
      task.avoidAgents = isNamed.has(name) ? avoidAgents : [];
      task.bypassCache = isNamed.has(name) && bypassCache;
    });
  }
}

/** Until the scheduler says more. */
function placing(since: Timestamp | undefined): Wait {
  return create(WaitSchema, { cause: WaitCause.PLACING, ...(since === undefined ? {} : { since }) });
}

function addTask(state: RunState, planned: PlannedTask): void {
  const task = newTask(planned);
  state.tasks.set(task.name, task);
  addDependant(state, task);
  state.open += 1;
}

function addDependant({ dependants }: RunState, { name, planned }: TaskState): void {
  for (const need of planned.needs) {
    const known = dependants.get(need);
    if (known === undefined) dependants.set(need, [name]);
    else known.push(name);
  }
}

/** One that the same task had written before stays what it has become, with what is planned for it now. */
function addGenerated(state: RunState, generated: TasksGenerated): void {
  graftGenerated<TaskState>(state.tasks, generated, (planned, former) =>
    former?.generatedBy === generated.by ? Object.assign(former, { planned }) : newTask(planned, generated.by),
  );
  state.plans += 1;
  state.dependants.clear();
  state.open = 0;
  for (const task of state.tasks.values()) {
    addDependant(state, task);
    if (isOpen(task)) state.open += 1;
    task.unmetNeeds = task.planned.needs.filter((need) => isOpenIn(state, need)).length;
  }
}

function isOpenIn({ tasks }: RunState, name: string): boolean {
  const task = tasks.get(name);
  return task !== undefined && isOpen(task);
}

function close(state: RunState, task: TaskState, status: TaskStatus, outcome: TaskFinished | undefined): void {
  if (isOpen(task)) {
    state.open -= 1;
    eachDependant(state, task, (dependant) => {
      dependant.unmetNeeds -= 1;
    });
  }
  task.status = status;
  task.outcome = outcome;
  task.wait = undefined;
  task.notBefore = undefined;
  if (outcome?.actionDigest !== undefined) task.actionDigest = outcome.actionDigest;
}

function eachDependant(state: RunState, { name }: TaskState, apply: (dependant: TaskState) => void): void {
  for (const dependant of state.dependants.get(name) ?? []) change(state, dependant, apply);
}

function change(state: RunState, name: string, apply: (task: TaskState) => void): void {
  const task = state.tasks.get(name);
  if (task !== undefined) apply(task);
}

import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Event, type PlannedTask, RunStatus, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { graftGenerated, taskName } from "../run/generated-tasks.ts";

/** What a task was doing for a while. Milliseconds from the beginning of the run; never empty. */
export interface Interval {
  /** Why it waited; undefined while an agent worked on it. */
  readonly wait: WaitCause | undefined;
  readonly fromMs: number;
  readonly toMs: number;
}

/** A task in time: its intervals follow one another without holes, from the plan to its end. */
export interface TaskTimeline {
  /** `stage/task`. */
  readonly name: string;
  readonly stage: string;
  /** `stage/task` of what must succeed first. */
  readonly needs: readonly string[];
  readonly intervals: readonly Interval[];
  readonly skipped: boolean;
  /** Of a task that has not ended, the end of the timeline. */
  readonly endMs: number;
}

/** A run in time. */
export interface RunTimeline {
  readonly pipeline: string;
  readonly status: RunStatus;
  /** Milliseconds since 1970. */
  readonly createMs: number;
  /** From its request to its end, or to now. */
  readonly leadTimeMs: number;
  /** In the order of the plan. */
  readonly tasks: ReadonlyMap<string, TaskTimeline>;
}

interface OpenTask {
  readonly name: string;
  planned: PlannedTask;
  readonly generatedBy: string;
  readonly intervals: Interval[];
  wait: WaitCause | undefined;
  sinceMs: number;
  skipped: boolean;
  endMs: number | undefined;
}

/**
 * Folds a run's events into what each task did when. Pure. Time is the sum of the steps forward between events: where the
 * coordinator's clock was set back, no time passed, so that no interval is negative and all later ones are right.
 * @param nowMs is the end of a run that has not finished.
 */
export function runTimeline(events: readonly Event[], nowMs: number): RunTimeline {
  const tasks = new Map<string, OpenTask>();
  const run = { pipeline: "", status: RunStatus.UNSPECIFIED as RunStatus, createMs: nowMs };
  const time = elapsedTime();
  /** What is said of a run after its end, a comment or a pin, makes it no longer. */
  let finishedMs: number | undefined;
  for (const event of events) {
    const atMs = time.at(event);
    const { kind } = event;
    if (kind.case === "runRequested") {
      run.pipeline = kind.value.pipeline;
      run.status = RunStatus.RUNNING;
      if (event.time !== undefined) run.createMs = timestampMs(event.time);
    } else if (kind.case === "runPlanned") {
      for (const planned of kind.value.tasks) {
        const task = newTask(planned, atMs);
        tasks.set(task.name, task);
      }
    } else if (kind.case === "tasksGenerated") {
      const { by } = kind.value;
      graftGenerated<OpenTask>(tasks, kind.value, (planned, former) =>
        former?.generatedBy === by ? Object.assign(former, { planned }) : newTask(planned, atMs, by),
      );
    } else if (kind.case === "runFinished") {
      run.status = kind.value.status;
      finishedMs = atMs;
    } else if (kind.case === "tasksReopened") {
      run.status = RunStatus.RUNNING;
      finishedMs = undefined;
      for (const name of kind.value.tasks) reopen(tasks.get(name), atMs);
    } else {
      changeTask(tasks, event, atMs);
    }
  }
  if (run.status === RunStatus.RUNNING) time.until(nowMs);
  const leadTimeMs = finishedMs ?? time.elapsedMs();
  const closed = [...tasks].map(([name, task]) => [name, closedAt(task, leadTimeMs)] as const);
  return { ...run, leadTimeMs, tasks: new Map(closed) };
}

/** Counts the time since the first event; a clock that goes back stands still instead. */
function elapsedTime() {
  let lastMs: number | undefined;
  let elapsedMs = 0;
  const until = (timeMs: number): number => {
    if (lastMs !== undefined) elapsedMs += Math.max(0, timeMs - lastMs);
    lastMs = timeMs;
    return elapsedMs;
  };
  return {
    at: ({ time }: Event) => (time === undefined ? elapsedMs : until(timestampMs(time))),
    until,
    elapsedMs: () => elapsedMs,
  };
}

function newTask(planned: PlannedTask, atMs: number, generatedBy = ""): OpenTask {
  const name = taskName(planned);
  const wait = planned.needs.length === 0 ? WaitCause.PREPARING : WaitCause.NEEDS;
  return { name, planned, generatedBy, intervals: [], wait, sinceMs: atMs, skipped: false, endMs: undefined };
}

function changeTask(tasks: ReadonlyMap<string, OpenTask>, { kind }: Event, atMs: number): void {
  if (kind.case === undefined || !("task" in kind.value)) return;
  const task = tasks.get(kind.value.task);
  if (task === undefined || task.endMs !== undefined) return;
  switch (kind.case) {
    case "taskWaiting":
      // An agent had it, and now it waits again: what that agent did was for nothing.
      leave(task, atMs, task.wait ?? WaitCause.AGENT_LOST);
      task.wait = kind.value.wait?.cause ?? WaitCause.UNSPECIFIED;
      return;
    case "taskSubmitted":
      leave(task, atMs, task.wait);
      task.wait = WaitCause.PLACING;
      return;
    case "taskStarted":
      leave(task, atMs, task.wait ?? WaitCause.AGENT_LOST);
      task.wait = undefined;
      return;
    case "taskRetried":
      // What the try before did was for nothing, too.
      leave(task, atMs, task.wait ?? WaitCause.RETRY_DELAY);
      task.wait = WaitCause.RETRY_DELAY;
      return;
    case "taskHeldBack":
      leave(task, atMs, task.wait);
      task.wait = WaitCause.PAUSED;
      return;
    case "taskFinished":
    case "taskSkipped":
      leave(task, atMs, task.wait);
      task.skipped = kind.case === "taskSkipped";
      task.endMs = atMs;
      return;
    default: // Other events of a task do not change what it does.
  }
}

/** It is wanted once more: until then it had ended, and from now on it waits for its needs until something else is said. */
function reopen(task: OpenTask | undefined, atMs: number): void {
  if (task === undefined) return;
  leave(task, atMs, task.endMs === undefined ? task.wait : WaitCause.RERUN);
  task.wait = WaitCause.NEEDS;
  task.skipped = false;
  task.endMs = undefined;
}

function leave(task: OpenTask, toMs: number, wait: WaitCause | undefined): void {
  if (toMs > task.sinceMs) task.intervals.push({ wait, fromMs: task.sinceMs, toMs });
  task.sinceMs = toMs;
}

function closedAt(task: OpenTask, nowMs: number): TaskTimeline {
  if (task.endMs === undefined) leave(task, nowMs, task.wait);
  const { name, planned, intervals, skipped, endMs = nowMs } = task;
  return { name, stage: planned.stage, needs: planned.needs, intervals, skipped, endMs };
}

import {
  type ConcurrencyGroup,
  ConcurrencyPolicy,
  type Event,
  type ProjectQuotas,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { RunState } from "../run/run-state.ts";
import { runNumber } from "../run/runs.ts";
import type { TaskState } from "../run/task-state.ts";
import { type Account, accounts } from "./accounts.ts";
import { places, type Seat } from "./places.ts";
import { clampPriority } from "./project-quotas.ts";
import { emptyStanding, foldStanding, type Standing } from "./standing.ts";

/** A run, as far as its admission to the farm goes. */
export interface AdmittedRun {
  readonly state: RunState;
  /** All its events so far. */
  readonly history: readonly Event[];
}

export interface AdmissionsDeps<Run extends AdmittedRun> {
  readonly quotasOf: (project: string) => ProjectQuotas;
  /** The task was told to wait, and waits no more: it is to ask again. */
  readonly onTurn: (run: Run, task: string) => void;
  /** A newer run takes its place: the task is to end, or, without one, the run. */
  readonly onSuperseded: (run: Run, task: string | undefined, reason: string) => void;
}

/** Why a task does not begin, as it is at this moment. */
export interface AdmissionWait {
  readonly cause: WaitCause;
  /** For a person. */
  readonly detail: string;
}

/**
 * Lets runs and tasks begin when their concurrency groups and the quota of their project have room. It keeps nothing that
 * the log does not have: `resume` builds it anew. Calls are synchronous, so that nothing comes between a question and its
 * answer; a task asks before each step that costs something, and asks again after it was told to wait.
 *
 * Groups of runs and groups of tasks are different groups also where they are named alike. A run has its place before its
 * tasks ask for theirs, and a task its place in a group before it counts for the quota: so nobody waits in a circle.
 */
export interface Admissions<Run extends AdmittedRun> {
  /** Takes up all runs that have not finished, once, before anything else. */
  resume(runs: readonly Run[]): void;
  /** Places are given back by what happened; called with each event once it is on disk, before anything is asked for it. */
  react(run: Run, event: Event): void;
  /** Whether the task may be prepared; if not, `onTurn` comes later unless it ends before. */
  mayPrepare(run: Run, task: TaskState): boolean;
  /** Whether its execution may be given to the farm; if not, `onTurn` comes later unless it ends before. */
  maySubmit(run: Run, task: TaskState): boolean;
  /** A project may run more, or less, than before. */
  quotasChanged(): void;
  /** What it waits for; undefined when it has its turn, or has not asked. */
  waitOf(run: string, task: string): AdmissionWait | undefined;
}

export function admissions<Run extends AdmittedRun>(deps: AdmissionsDeps<Run>): Admissions<Run> {
  const standings = runStandings<Run>();
  /** Tasks that have asked while their run as a whole waits for its place. */
  const behind = new Map<string, Set<string>>();
  const inGroups = places<Run>({
    onTurn({ run, task }) {
      for (const name of task === undefined ? takeBehind(run) : [task]) deps.onTurn(run, name);
    },
    onSuperseded: ({ run, task }, reason) => deps.onSuperseded(run, task, reason),
  });
  const accountFor = (run: Run, task: TaskState): Account<Run> => {
    const priority = clampPriority(task.planned.priority, deps.quotasOf(run.state.project));
    return accountOf(run, task, priority, standings.of(run));
  };
  const running = accounts<Run>({ ...deps, onTurn: ({ run, task }) => deps.onTurn(run, task) });

  function takeBehind({ state }: Run): Iterable<string> {
    const tasks = behind.get(state.run) ?? [];
    behind.delete(state.run);
    return tasks;
  }

  function putBehind({ state }: Run, { name }: TaskState): void {
    behind.set(state.run, (behind.get(state.run) ?? new Set()).add(name));
  }

  return {
    resume(runs) {
      const all = runs.map((run) => ({ run, standing: standings.of(run) }));
      for (const { run, standing } of all) {
        const seat = seatOfRun(run, standing);
        if (seat !== undefined && standing.askedMs !== undefined) inGroups.takeUp(seat, standing.begun);
        for (const task of begunTasks(run)) {
          const own = seatOfTask(run, task, standing);
          if (own !== undefined) inGroups.takeUp(own, true);
          running.takeUp(accountFor(run, task), true);
        }
      }
      inGroups.settleAll();
      for (const { run, standing } of all) {
        const isBehind = inGroups.waitOf(run.state.run) !== undefined;
        for (const task of askingTasks(run, standing)) {
          const seat = isBehind ? undefined : seatOfTask(run, task, standing);
          if (isBehind) putBehind(run, task);
          else if (seat !== undefined) inGroups.takeUp(seat, false);
        }
      }
      inGroups.settleAll();
      for (const { run, standing } of all) {
        for (const task of askingTasks(run, standing)) {
          if (task.wait?.cause !== WaitCause.QUOTA || inGroups.waitOf(idOf(run, task.name)) !== undefined) continue;
          running.takeUp(accountFor(run, task), false);
        }
      }
      running.settleAll();
    },

    react(run, event) {
      const { state } = run;
      for (const task of standings.fold(run, event)) {
        behind.get(state.run)?.delete(task);
        inGroups.leave(idOf(run, task));
        running.leave(idOf(run, task));
      }
      if (event.kind.case !== "runFinished") return;
      behind.delete(state.run);
      inGroups.leave(state.run);
    },

    mayPrepare(run, task) {
      const standing = standings.of(run);
      const runSeat = seatOfRun(run, standing);
      if (runSeat !== undefined && !inGroups.ask(runSeat)) {
        putBehind(run, task);
        return false;
      }
      const seat = seatOfTask(run, task, standing);
      return seat === undefined || inGroups.ask(seat);
    },

    maySubmit: (run, task) => running.ask(accountFor(run, task)),

    quotasChanged: () => running.settleAll(),

    waitOf(run, task) {
      const id = `${run} ${task}`;
      const group = inGroups.waitOf(run) ?? inGroups.waitOf(id);
      if (group !== undefined) return { cause: WaitCause.CONCURRENCY, detail: group };
      const quota = running.waitOf(id);
      return quota === undefined ? undefined : { cause: WaitCause.QUOTA, detail: quota };
    },
  };
}

/** What is known of runs that have not finished. */
function runStandings<Run extends AdmittedRun>() {
  const standings = new Map<string, Standing>();

  function of(run: Run): Standing {
    const known = standings.get(run.state.run);
    if (known !== undefined) return known;
    const standing = emptyStanding();
    for (const event of run.history) foldStanding(standing, event);
    standings.set(run.state.run, standing);
    return standing;
  }

  return {
    of,
    /** Of a run that was unknown the event is in the history as well: to fold it twice changes nothing. */
    fold(run: Run, event: Event): readonly string[] {
      const { state } = run;
      if (!standings.has(state.run) && state.status !== RunStatus.RUNNING) return []; // it is over
      const left = foldStanding(of(run), event);
      if (event.kind.case === "runFinished") standings.delete(state.run);
      return left;
    },
  };
}

function seatOfRun<Run extends AdmittedRun>(run: Run, standing: Standing): Seat<Run> | undefined {
  const { run: id, project, concurrency } = run.state;
  if (concurrency === undefined) return undefined;
  const key = JSON.stringify(["runs", project, concurrency.name]);
  return {
    key,
    group: concurrency,
    run,
    task: undefined,
    member: { id, ...asMember(run, concurrency), askedMs: standing.askedMs ?? 0, ordinal: 0 },
  };
}

function seatOfTask<Run extends AdmittedRun>(run: Run, task: TaskState, standing: Standing): Seat<Run> | undefined {
  const { concurrency } = task.planned;
  if (concurrency === undefined) return undefined;
  const key = JSON.stringify(["tasks", run.state.project, concurrency.name]);
  const member = { id: idOf(run, task.name), ...asMember(run, concurrency), ...turnOf(task, standing) };
  return { key, group: concurrency, run, task: task.name, member };
}

function asMember({ state }: AdmittedRun, { limit, policy }: ConcurrencyGroup) {
  const supersedes = policy === ConcurrencyPolicy.CANCEL_SUPERSEDED;
  return { run: runNumber(state.run) ?? 0, limit: Math.max(1, limit), supersedes };
}

function accountOf<Run extends AdmittedRun>(
  run: Run,
  task: TaskState,
  priority: number,
  standing: Standing,
): Account<Run> {
  const { project, run: name } = run.state;
  const claim = { id: idOf(run, task.name), run: name, priority, ...turnOf(task, standing) };
  return { project, claim, run, task: task.name };
}

function turnOf({ name }: TaskState, { asked, ordinals }: Standing) {
  return { askedMs: asked.get(name) ?? 0, ordinal: ordinals.get(name) ?? 0 };
}

/** Those that the farm has: they have their places, whoever else asks. */
function begunTasks({ state }: AdmittedRun): TaskState[] {
  return [...state.tasks.values()].filter(
    ({ status }) => status === TaskStatus.QUEUED || status === TaskStatus.RUNNING,
  );
}

function askingTasks({ state }: AdmittedRun, { asked }: Standing): TaskState[] {
  return [...asked.keys()].flatMap((name) => {
    const task = state.tasks.get(name);
    return task?.status === TaskStatus.WAITING ? [task] : [];
  });
}

function idOf({ state }: AdmittedRun, task: string): string {
  return `${state.run} ${task}`;
}

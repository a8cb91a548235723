import type { Event } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { type Due, dueOf } from "./due.ts";
import type { Origin, RunCommand } from "./run-command.ts";
import type { RunState } from "./run-state.ts";

/** A run, as far as its timers know it. */
export interface TimedRun {
  readonly state: RunState;
}

export interface TaskTimersDeps<Run extends TimedRun> {
  readonly clock: Clock;
  readonly origin: (run: Run) => Origin;
  /** Asks a run for what is due. */
  readonly perform: (run: Run, command: RunCommand, origin: Origin) => Promise<unknown>;
  readonly onError: (error: unknown) => void;
}

/** Lets happen to tasks what is due by time: gates time out, another try begins, what a cancellation left runs out. */
export interface TaskTimers<Run extends TimedRun> {
  /** For a run read back from the log: what came due while nobody ran happens at once. */
  resume(run: Run): void;
  react(run: Run, event: Event): void;
  stop(): void;
}

/**
 * The timers hold nothing that the log does not: when something is due follows from the state, and it is asked of the run,
 * which knows whether somebody was faster. The wall clock may jump and a timer cannot be set for weeks, so a long wait is a
 * chain of short ones that look at the clock each time.
 */
export function taskTimers<Run extends TimedRun>(deps: TaskTimersDeps<Run>): TaskTimers<Run> {
  const { clock, onError } = deps;
  const timers = new Map<string, () => void>();
  let stopped = false;

  /** Sets the timer of a task as its state asks for, or takes it away. */
  function look(run: Run, name: string): void {
    const key = `${run.state.run} ${name}`;
    timers.get(key)?.();
    timers.delete(key);
    const task = run.state.tasks.get(name);
    const due = task && dueOf(run.state, task);
    if (due === undefined || stopped) return;
    const leftMs = Math.max(0, due.atMs - clock.nowMs());
    timers.set(
      key,
      clock.after(Math.min(leftMs, limits.gateTimerStepMs), () => void fire(run, name, due)),
    );
  }

  /** Early, the run gives no events and the timer is set again; so it is when the log could not be written. */
  async function fire(run: Run, name: string, due: Due): Promise<void> {
    const key = `${run.state.run} ${name}`;
    timers.delete(key);
    try {
      await deps.perform(run, due.command, deps.origin(run));
    } catch (error) {
      onError(from(error, `${due.doing} in ${run.state.run}`));
      if (stopped || timers.has(key)) return;
      timers.set(
        key,
        clock.after(limits.retryMaxMs, () => void fire(run, name, due)),
      );
      return;
    }
    if (!timers.has(key)) look(run, name);
  }

  return {
    resume(run) {
      for (const name of run.state.tasks.keys()) look(run, name);
    },
    react(run, { kind }) {
      switch (kind.case) {
        case "gateOpened":
        case "taskRetried":
        case "taskFinished":
        case "taskSkipped":
          return look(run, kind.value.task);
        case "tasksReopened":
          for (const name of kind.value.tasks) look(run, name);
          return;
        case "runCancelRequested":
          for (const name of run.state.tasks.keys()) look(run, name);
          return;
        default: // The others change nothing that is due.
      }
    },
    stop() {
      stopped = true;
      for (const cancel of timers.values()) cancel();
      timers.clear();
    },
  };
}

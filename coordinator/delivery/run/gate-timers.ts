import { timestampMs } from "@bufbuild/protobuf/wkt";
import type { Event } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Origin, RunCommand } from "./decide.ts";
import type { NewerCandidate } from "./gate.ts";
import { isOpen, type RunState } from "./run-state.ts";

/** A run, as far as its timers know it. */
export interface TimedRun {
  readonly state: RunState;
  do(command: RunCommand, origin: Origin): Promise<void>;
}

export interface GateTimersDeps<Run extends TimedRun> {
  readonly clock: Clock;
  readonly origin: (run: Run) => Origin;
  /** Has it decided in turn with what people decide, and says whether a newer run was approved at this stage. */
  readonly inTurn: (
    run: Run,
    stage: string,
    act: (newer: NewerCandidate | undefined) => Promise<void>,
  ) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

/** Lets open gates time out. */
export interface GateTimers<Run extends TimedRun> {
  /** For a run read back from the log: a deadline that passed while nobody ran is met at once. */
  resume(run: Run): void;
  react(run: Run, event: Event): void;
  stop(): void;
}

/**
 * Timers of gates hold nothing that the log does not: the deadline stands in the event that opened the gate, and the
 * decision is asked of the run, which knows whether somebody was faster. The wall clock may jump and a timer cannot be
 * set for weeks, so a long wait is a chain of short ones that look at the clock each time.
 */
export function gateTimers<Run extends TimedRun>(deps: GateTimersDeps<Run>): GateTimers<Run> {
  const { clock, onError } = deps;
  const timers = new Map<string, () => void>();
  let stopped = false;

  const keyOf = (run: Run, task: string) => `${run.state.run} ${task}`;

  function arm(run: Run, task: string): void {
    const gate = run.state.tasks.get(task)?.gate;
    if (gate === undefined || stopped) return;
    const leftMs = Math.max(0, timestampMs(gate.deadline) - clock.nowMs());
    timers.set(
      keyOf(run, task),
      clock.after(Math.min(leftMs, limits.gateTimerStepMs), () => void fire(run, task)),
    );
  }

  /** Early, the run gives no events and the timer is set again; so it is when the log could not be written. */
  async function fire(run: Run, task: string): Promise<void> {
    timers.delete(keyOf(run, task));
    try {
      const stage = run.state.tasks.get(task)?.planned.stage ?? "";
      await deps.inTurn(run, stage, (newer) => run.do({ kind: "gate-timeout", task, newer }, deps.origin(run)));
    } catch (error) {
      onError(from(error, `letting the gate ${task} of ${run.state.run} time out`));
      if (!stopped)
        timers.set(
          keyOf(run, task),
          clock.after(limits.retryMaxMs, () => void fire(run, task)),
        );
      return;
    }
    const state = run.state.tasks.get(task);
    if (state !== undefined && isOpen(state)) arm(run, task);
  }

  function disarm(run: Run, task: string): void {
    timers.get(keyOf(run, task))?.();
    timers.delete(keyOf(run, task));
  }

  return {
    resume(run) {
      for (const task of run.state.tasks.values()) if (task.gate !== undefined && isOpen(task)) arm(run, task.name);
    },
    react(run, { kind }) {
      if (kind.case === "gateOpened") arm(run, kind.value.task);
      else if (kind.case === "taskFinished") disarm(run, kind.value.task);
    },
    stop() {
      stopped = true;
      for (const cancel of timers.values()) cancel();
      timers.clear();
    },
  };
}

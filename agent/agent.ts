import { EndingKind } from "../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../shared/clock.ts";
import { MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { Stopped } from "./executor/executor.ts";
import type { Outbox } from "./outbox/outbox.ts";
import type { Attempts } from "./session/attempts.ts";

/** The agent as its program sees it. */
export interface Agent {
  readonly id: string;
  /** Joins the farm; resolves when it has, throws when it is refused for good. */
  start(): Promise<void>;
  /**
   * Takes nothing new, finishes what it has, and leaves. What is not finished within `workMs` is ended, with `graceMs`
   * for its processes to clean up; the farm places it anew. Called again it only shortens the time of the calls before.
   */
  stop(times?: Times): Promise<void>;
}

interface Times {
  readonly workMs: number;
  readonly graceMs: number;
}

export interface AgentParts {
  readonly id: string;
  readonly join: () => Promise<void>;
  /** Closes all parts, in reverse order of their opening. */
  readonly close: () => Promise<void>;
  readonly attempts: Attempts;
  readonly outbox: Pick<Outbox, "empty">;
  readonly clock: Clock;
  /** Aborted when nothing is waited for any more. */
  readonly ending: AbortController;
}

export function agent({ id, join, close, attempts, outbox, clock, ending }: AgentParts): Agent {
  let stopping: Promise<void> | undefined;
  let shorten: (times: Times) => void = () => {};

  async function drain(times: Times): Promise<void> {
    attempts.drain();
    const overdue = new AbortController();
    let cancelEnd = (): void => {};
    let cancelWork = (): void => {};
    let workEndMs = Number.POSITIVE_INFINITY;
    const hurry = (graceMs: number) => {
      attempts.stopAll(new Stopped(EndingKind.INFRASTRUCTURE, "its agent was shut down", graceMs));
      cancelEnd();
      cancelEnd = clock.after(graceMs + limits.lastReportsMs, () => overdue.abort());
    };
    shorten = ({ workMs, graceMs }) => {
      if (workMs === 0) return hurry(graceMs);
      if (clock.monotonicMs() + workMs >= workEndMs) return;
      workEndMs = clock.monotonicMs() + workMs;
      cancelWork();
      cancelWork = clock.after(workMs, () => hurry(graceMs));
    };
    shorten(times);
    await attempts.idle(overdue.signal);
    await outbox.empty(overdue.signal);
    cancelWork();
    cancelEnd();
    ending.abort(new MillraceError("canceled", "the agent ends"));
    await close();
  }

  return {
    id,
    start: join,
    stop(times = { workMs: limits.drainMs - limits.killGraceMs - limits.lastReportsMs, graceMs: limits.killGraceMs }) {
      if (stopping === undefined) stopping = drain(times);
      else shorten(times);
      return stopping;
    },
  };
}

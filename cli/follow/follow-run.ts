import { setTimeout as delay } from "node:timers/promises";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Connection } from "../connection.ts";
import { awayRemark } from "./resumed.ts";
import { readRunLog, watchRun } from "./run-streams.ts";
import type { RunView } from "./run-view.ts";

export interface FollowRunOptions {
  readonly run: string;
  readonly view: RunView;
  /** Whether the output is wanted; without it only events are followed. */
  readonly withLog: boolean;
  readonly signal: AbortSignal;
}

/**
 * Feeds the view with a run's events and output until the run has finished and its output is complete.
 * Throws `canceled` when the signal aborts, `unavailable` when the coordinator stays away.
 */
export async function followRun(connection: Connection, options: FollowRunOptions): Promise<void> {
  const { run, view, signal } = options;
  const stop = new AbortController();
  const both = AbortSignal.any([signal, stop.signal]);
  // The two streams take turns: a view is not called twice at a time.
  let turn: Promise<void> = Promise.resolve();
  const inTurn = (call: () => Promise<void>) => {
    turn = turn.then(call);
    return turn;
  };
  let lastOutputMs = performance.now();
  const onInterruption = (error: MillraceError) => {
    void inTurn(() => view.remark(awayRemark(error)));
  };

  const output = async () => {
    for await (const chunk of readRunLog(connection, { run, follow: true, signal: both })) {
      lastOutputMs = performance.now();
      await inTurn(() => view.output(chunk));
    }
  };
  const logged = options.withLog ? output() : Promise.resolve();
  logged.catch(() => {}); // Awaited below; until then a failure must not count as unhandled.

  try {
    for await (const { event } of watchRun(connection, { run, signal: both, onInterruption })) {
      if (event !== undefined) await inTurn(() => view.event(event));
    }
    const finishedMs = performance.now();
    await Promise.race([logged, silence(() => Math.max(lastOutputMs, finishedMs), both)]).catch((error: unknown) => {
      if (signal.aborted) throw error;
      // The outcome of the run is known; a log that cannot be read must not hide it.
      return inTurn(() => view.remark(`${from(error).message}; see \`millrace logs ${run}\``));
    });
  } catch (error) {
    throw from(error);
  } finally {
    stop.abort();
  }

  async function silence(sinceMs: () => number, until: AbortSignal): Promise<void> {
    for (;;) {
      const leftMs = sinceMs() + limits.logEndPatienceMs - performance.now();
      if (leftMs <= 0) break;
      await delay(leftMs, undefined, { signal: until });
    }
    throw new MillraceError("unavailable", "the end of the log did not come");
  }
}

import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { limits } from "../../shared/limits.ts";
import { Stopped } from "../executor/executor.ts";
import type { LogStreamer, OpenLog } from "./log-streamer.ts";

/** A log that says when its task must end for want of a coordinator. */
export interface BoundedLog extends OpenLog {
  /** Its reason is a `Stopped`. Never aborted once the log is sealed: what waits then grows no more. */
  readonly overfull: AbortSignal;
}

/** See the entries of the same meaning in limits.ts. */
export interface SpoolBounds {
  readonly cutOffMs: number;
  readonly spoolBytes: number;
  readonly awayMs: number;
}

export interface BoundedLogsOptions {
  readonly clock: Clock;
  readonly bounds: SpoolBounds;
  readonly onError: (error: MillraceError) => void;
}

/** What waits of one log, and for how long nothing of it was taken. */
export interface Waiting {
  readonly waitingBytes: number;
  readonly stuckMs: number;
}

/**
 * Keeps what waits for a coordinator that takes nothing within bounds: a task whose output waits too long ends, and of
 * several the one with the most, when together they are too much. A log that is only slow is left alone, however far behind:
 * the disk has a watch of its own.
 */
export function boundedLogs(base: Pick<LogStreamer, "open">, { clock, bounds, onError }: BoundedLogsOptions) {
  const watched = new Map<OpenLog, { over: AbortController; storedBytes: number; sinceMs: number }>();
  let cancelLook: (() => void) | undefined;

  async function look(): Promise<void> {
    const waiting = new Map<OpenLog, Waiting>();
    for (const [log, state] of watched) {
      const { storedBytes, sizeBytes } = await log.progress();
      const nowMs = clock.monotonicMs();
      if (sizeBytes === storedBytes || storedBytes !== state.storedBytes) state.sinceMs = nowMs;
      state.storedBytes = storedBytes;
      waiting.set(log, { waitingBytes: sizeBytes - storedBytes, stuckMs: nowMs - state.sinceMs });
    }
    for (const [log, why] of tooMuch(waiting, bounds)) {
      watched.get(log)?.over.abort(new Stopped(EndingKind.INFRASTRUCTURE, why, limits.killGraceMs));
      watched.delete(log);
    }
  }

  function watch(): void {
    cancelLook ??= clock.after(limits.spoolCheckMs, () => {
      look()
        .catch((error: unknown) => onError(from(error, "looking at the output that waits")))
        .finally(() => {
          cancelLook = undefined;
          if (watched.size > 0) watch();
        });
    });
  }

  return {
    async open(...args: Parameters<LogStreamer["open"]>): Promise<BoundedLog> {
      const log = await base.open(...args);
      const over = new AbortController();
      watched.set(log, { over, storedBytes: 0, sinceMs: clock.monotonicMs() });
      watch();
      const leave = () => void watched.delete(log);
      return {
        ...log,
        overfull: over.signal,
        seal() {
          leave();
          return log.seal();
        },
        finish() {
          leave();
          return log.finish();
        },
      };
    },
    close: () => cancelLook?.(),
  };
}

/** The logs whose tasks have to end, with why. */
export function tooMuch<L>(waiting: ReadonlyMap<L, Waiting>, bounds: SpoolBounds): ReadonlyMap<L, string> {
  const stuck = [...waiting].filter(([, { stuckMs, waitingBytes }]) => waitingBytes > 0 && stuckMs >= bounds.cutOffMs);
  const none = (ms: number) => `the coordinator has taken none of its output for ${Math.round(ms / 1000)} s`;
  const kept = "What it has printed is kept, and sent when the coordinator is back";
  const late = stuck.filter(([, { stuckMs }]) => stuckMs >= bounds.awayMs);
  if (late.length > 0) {
    return new Map(
      late.map(([log, { stuckMs }]) => [log, `${none(stuckMs)}, and it may not wait for longer. ${kept}`]),
    );
  }
  const sumBytes = stuck.reduce((sum, [, { waitingBytes }]) => sum + waitingBytes, 0);
  const [most] = stuck.sort(([, a], [, b]) => b.waitingBytes - a.waitingBytes);
  if (most === undefined || sumBytes <= bounds.spoolBytes) return new Map();
  const size = `${formatBytes(sumBytes)} of this agent's wait, where ${formatBytes(bounds.spoolBytes)} may`;
  return new Map([[most[0], `${none(most[1].stuckMs)}, and ${size}. ${kept}`]]);
}

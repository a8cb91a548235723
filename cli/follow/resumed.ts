import { setTimeout as delay } from "node:timers/promises";
import { from, isTransient, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";

export interface ResumeOptions<T> {
  /** For messages: "following run_12". None where the other side says what it was doing. */
  readonly doing?: string;
  /** Opens the stream where the last one broke off, and gives only what is new. */
  open(signal: AbortSignal): AsyncIterable<T>;
  /** Asked when the stream ended by itself: whether that was its real end, or the server went away politely. */
  complete(): boolean | Promise<boolean>;
  /** Asked at a failure: nobody waits for a server that was never there. Default: it was, for it has answered before. */
  isKnown?(failure: MillraceError): boolean;
  readonly signal: AbortSignal;
  /** Told once for each outage. */
  onInterruption?(error: MillraceError): void;
}

/**
 * A server stream that outlives restarts of its server: a transient failure opens it anew, with growing pauses, until
 * nothing new has come for `limits.reconnectPatienceMs`. Other failures, and the abort of `signal`, end it.
 */
export async function* resumed<T>(options: ResumeOptions<T>): AsyncGenerator<T> {
  let outageSinceMs: number | undefined;
  let retries = 0;
  for (;;) {
    // A stream that is left early stays suspended on the server unless its call is aborted.
    const attempt = new AbortController();
    let failure: MillraceError;
    try {
      for await (const item of options.open(AbortSignal.any([options.signal, attempt.signal]))) {
        outageSinceMs = undefined;
        retries = 0;
        yield item;
      }
      if (await options.complete()) return;
      failure = new MillraceError("unavailable", "the coordinator closed the stream");
    } catch (error) {
      failure = from(error);
      // Cancelled, and not by us: a coordinator that stops in good order cuts its streams like that.
      const isOutage = isTransient(failure) || failure.code === "canceled";
      const isKnown = options.isKnown?.(failure) ?? true;
      if (options.signal.aborted || !isOutage || !isKnown) throw from(error, options.doing);
    } finally {
      attempt.abort();
    }
    const nowMs = performance.now();
    if (outageSinceMs === undefined) {
      outageSinceMs = nowMs;
      options.onInterruption?.(failure);
    } else if (nowMs - outageSinceMs > limits.reconnectPatienceMs) {
      throw from(failure, options.doing);
    }
    await delay(retryDelayMs(retries), undefined, { signal: options.signal });
    retries += 1;
  }
}

/** For a person, of an interruption. */
export function awayRemark({ message }: MillraceError): string {
  return `the coordinator is away (${message}); trying again`;
}

/** Doubling pauses up to a bound, half of each random, so that many followers do not come back at once. */
export function retryDelayMs(retries: number, random: () => number = Math.random): number {
  const boundMs = Math.min(limits.reconnectPauseMaxMs, limits.reconnectPauseMs * 2 ** Math.min(retries, 16));
  return boundMs / 2 + (random() * boundMs) / 2;
}

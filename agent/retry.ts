import type { Clock } from "../shared/clock.ts";
import { from, isRemote, type MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { patiently, retry, retryDelayMs } from "../shared/retry.ts";

const pace = { baseMs: limits.retryMinMs, maxMs: limits.retryMaxMs, random: patiently.random };

/**
 * Makes a call until it goes well; while the farm cannot be reached it waits, for `limits.farmAwayMs` at most, for a task's
 * inputs and outputs are worth more than a quick answer while the coordinator restarts. A coordinator that is there but short of something, which
 * may be disk, is asked `limits.exhaustedAttempts` times.
 * @throws MillraceError the first error that trying again cannot cure, or `canceled` when the signal aborts
 */
export type Patiently = <T>(signal: AbortSignal, doing: string, call: () => Promise<T>) => Promise<T>;

/** `onWait` is told why, at each attempt that failed and will be made again. */
export function patience(
  clock: Clock,
  onWait: (error: MillraceError) => void,
  awayMs: number = limits.farmAwayMs,
): Patiently {
  return async (signal, doing, call) => {
    let exhausted = 0;
    let awaySinceMs: number | undefined;
    let goneMs = 0;
    const isRetryable = (error: unknown) => {
      const isShort = from(error).code === "resource_exhausted" && isRemote(error);
      if (isShort ? ++exhausted >= limits.exhaustedAttempts : !isAway(error)) return false;
      awaySinceMs ??= clock.monotonicMs();
      goneMs = clock.monotonicMs() - awaySinceMs;
      if (goneMs >= awayMs) return false;
      onWait(from(error, doing));
      return true;
    };
    try {
      return await retry(call, { ...pace, clock, signal, attemptsMax: Number.POSITIVE_INFINITY, isRetryable });
    } catch (error) {
      const forLong = goneMs >= awayMs ? `, for ${Math.round(goneMs / 1000)} s without success` : "";
      throw from(error, `${doing}${forLong}`);
    }
  };
}

/** Whether the other side was not there. Not `aborted`: that is also a file that changed while it was read. */
function isAway(error: unknown): boolean {
  const { code } = from(error);
  return code === "unavailable" || code === "deadline_exceeded";
}

/** Growing pauses between attempts of something that has a loop of its own. */
export interface Backoff {
  /** Resolves after the next pause, at once when `signal` aborts. */
  pause(signal: AbortSignal): Promise<void>;
  /** The last attempt went well: the next pause is of the shortest again. */
  reset(): void;
}

export function backoff(clock: Clock): Backoff {
  let failures = 0;
  return {
    async pause(signal) {
      failures += 1;
      await delay(clock, retryDelayMs(failures, pace), signal);
    },
    reset() {
      failures = 0;
    },
  };
}

/** Resolves after the delay, or at once when the signal aborts. */
export function delay(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      cancel();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const cancel = clock.after(delayMs, done);
    signal.addEventListener("abort", done);
  });
}

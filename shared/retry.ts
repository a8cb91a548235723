import type { Clock } from "./clock.ts";
import { from, isTransient, MillraceError } from "./errors.ts";
import { limits } from "./limits.ts";

export interface RetryOptions {
  readonly clock: Clock;
  /** From 0 up to, not including, 1: `Math.random`, or a seeded one. */
  readonly random: () => number;
  /** Ends the waiting between attempts with `canceled`; the operation looks after itself. */
  readonly signal: AbortSignal;
  /** The longest wait before the second attempt, in ms; it doubles from attempt to attempt. */
  readonly baseMs: number;
  /** The longest wait before any attempt, in ms. */
  readonly maxMs: number;
  /** How often the operation is tried in all, at least once. `Infinity` where only the signal may end it. */
  readonly attemptsMax: number;
  /** Whether trying again can help; by default what `isTransient` says of the code. */
  readonly isRetryable?: (error: unknown) => boolean;
}

/** The pace of what must be done in the end, however long the other side is away. */
export const patiently = {
  random: () => Math.random(), // as it is when it is asked: whoever owns a simulated world owns it, too
  baseMs: limits.retryMinMs,
  maxMs: limits.retryMaxMs,
  attemptsMax: Number.POSITIVE_INFINITY,
} as const;

/**
 * Tries until it succeeds, the error is not retryable or the attempts are used up; then throws the last error, with the
 * number of attempts. `operation` is given the number of the attempt, from 1.
 *
 * Waits are random between zero and a doubling bound ("full jitter"): many clients that failed together spread out over
 * the whole interval, where a fixed part would bring them back together
 * (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/).
 */
export async function retry<T>(operation: (attempt: number) => Promise<T>, options: RetryOptions): Promise<T> {
  const { attemptsMax, isRetryable = isTransient, signal } = options;
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await operation(attempt);
    } catch (error) {
      if (signal.aborted || !isRetryable(error)) throw error;
      if (attempt >= attemptsMax) throw attempt === 1 ? error : from(error, `after ${attempt} attempts`);
      await pause(retryDelayMs(attempt, options), options);
    }
  }
}

/** How long to wait after the given number of failed attempts. */
export function retryDelayMs(
  failures: number,
  { baseMs, maxMs, random }: Pick<RetryOptions, "baseMs" | "maxMs" | "random">,
): number {
  return random() * Math.min(maxMs, baseMs * 2 ** (failures - 1));
}

async function pause(delayMs: number, { clock, signal }: Pick<RetryOptions, "clock" | "signal">): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const giveUp = () => reject(new MillraceError("canceled", "given up between two attempts", { cause: signal.reason }));
  const cancelTimer = clock.after(delayMs, resolve);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    await promise;
  } finally {
    cancelTimer();
    signal.removeEventListener("abort", giveUp);
  }
}

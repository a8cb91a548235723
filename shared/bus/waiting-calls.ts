import type { Clock } from "../clock.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { RequestOptions } from "./bus.ts";

/** Calls of one party that wait for the far side, so that a bus that goes down or is closed can end them. */
export interface WaitingCalls {
  /**
   * Waits for `answer`, at most for `options.timeoutMs`. `doing` begins the messages of its errors.
   * Throws `deadline_exceeded`, `canceled` by the signal, `unavailable` by `failAll`, and what `answer` throws.
   */
  wait<T>(doing: string, answer: Promise<T>, options: RequestOptions): Promise<T>;
  failAll(reason: string): void;
}

export function waitingCalls(clock: Clock): WaitingCalls {
  const waiting = new Map<(error: MillraceError) => void, string>();
  return {
    async wait<T>(doing: string, answer: Promise<T>, { timeoutMs, signal }: RequestOptions) {
      answer.catch(() => undefined); // it may fail after we stopped waiting
      if (waiting.size >= limits.busRequests) {
        throw new MillraceError("resource_exhausted", `${doing}: ${waiting.size} other calls wait already`);
      }
      const { promise, resolve, reject } = Promise.withResolvers<T>();
      const giveUp = () => reject(new MillraceError("canceled", `${doing}: given up`, { cause: signal?.reason }));
      const cancelTimer = clock.after(timeoutMs, () => {
        reject(new MillraceError("deadline_exceeded", `${doing}: no answer for ${timeoutMs} ms`));
      });
      waiting.set(reject, doing);
      signal?.addEventListener("abort", giveUp, { once: true });
      if (signal?.aborted) giveUp();
      answer.then(resolve, reject);
      try {
        return await promise;
      } finally {
        waiting.delete(reject);
        cancelTimer();
        signal?.removeEventListener("abort", giveUp);
      }
    },
    failAll(reason) {
      for (const [reject, doing] of waiting) reject(new MillraceError("unavailable", `${doing}: ${reason}`));
    },
  };
}

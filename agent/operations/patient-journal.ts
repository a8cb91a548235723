import type { Clock } from "../../shared/clock.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { retry } from "../../shared/retry.ts";
import type { Journal } from "./journal.ts";

export interface PatienceOptions {
  readonly clock: Clock;
  /** Aborts when the agent ends. */
  readonly signal: AbortSignal;
  /** Told of each write that failed and will be made again. */
  readonly onWait: (error: MillraceError) => void;
}

/** Waits while the disk is full: an operation that gave up in the middle would leave its host half done. */
export function patientJournal(base: Journal, { clock, signal, onWait }: PatienceOptions): Journal {
  const pace = { baseMs: limits.retryMinMs, maxMs: limits.retryMaxMs, random: Math.random };
  const patiently = <T>(write: () => Promise<T>): Promise<T> =>
    retry(write, {
      ...{ ...pace, clock, signal, attemptsMax: Number.POSITIVE_INFINITY },
      isRetryable(error) {
        const failure = from(error, "writing the journal of host operations");
        if (failure.code !== "resource_exhausted") return false;
        onWait(failure);
        return true;
      },
    });
  return {
    ...base,
    begin: (...call) => patiently(() => base.begin(...call)),
    takeOver: (...call) => patiently(() => base.takeOver(...call)),
    save: (executionId, entry) => patiently(() => base.save(executionId, entry)),
    finish: (...call) => patiently(() => base.finish(...call)),
  };
}

import type { Clock } from "../../../shared/clock.ts";
import { patiently, retry } from "../../../shared/retry.ts";

export interface DurablyDeps {
  readonly clock: Clock;
  /** Ends all that is still tried; a restart does it then. */
  readonly signal: AbortSignal;
  /** Told of each try that failed. */
  readonly onError: (error: unknown) => void;
}

/** Does what must reach the disk, whatever the disk has against it now. Nobody waits for it. */
export type Durably = (work: () => Promise<void>) => void;

export function durably({ clock, signal, onError }: DurablyDeps): Durably {
  const isRetryable = (error: unknown): boolean => {
    onError(error);
    return true;
  };
  return (work) => {
    retry(work, { ...patiently, clock, signal, isRetryable }).catch((error: unknown) => {
      if (!signal.aborted) onError(error);
    });
  };
}

import type { Clock } from "../../../shared/clock.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import type { PoolTrouble } from "./pools.ts";

/** Failures in a row of one thing, and when it is tried again. */
export interface Setbacks {
  failed(message: string): void;
  succeeded(): void;
  /** Undefined after a success. */
  trouble(): PoolTrouble | undefined;
  /** Until the next try; 0 when there is nothing to wait for. */
  waitMs(): number;
}

/**
 * Pauses double from failure to failure up to `poolLimits.pauseMaxMs`. Without chance in them: one coordinator asks one
 * provider, so there are no others to come apart from.
 */
export function setbacks(clock: Clock): Setbacks {
  let failures = 0;
  let last: { readonly message: string; readonly timeMs: number; readonly retryMs: number } | undefined;
  /** On the monotonic clock. */
  let retryAtMs = 0;
  return {
    failed(message) {
      const pauseMs = Math.min(poolLimits.pauseMaxMs, poolLimits.pauseMs * 2 ** Math.min(failures, 16));
      failures += 1;
      const timeMs = clock.nowMs();
      last = { message, timeMs, retryMs: timeMs + pauseMs };
      retryAtMs = clock.monotonicMs() + pauseMs;
    },
    succeeded() {
      failures = 0;
      last = undefined;
      retryAtMs = 0;
    },
    trouble: () => (last === undefined ? undefined : { ...last, failures }),
    waitMs: () => Math.max(0, retryAtMs - clock.monotonicMs()),
  };
}

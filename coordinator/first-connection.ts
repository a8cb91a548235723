import type { Bus } from "../shared/bus/bus.ts";
import { connectNatsBus, type NatsBusOptions } from "../shared/bus/nats-bus.ts";
import type { Clock } from "../shared/clock.ts";
import { from, isTransient } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { patiently, retry } from "../shared/retry.ts";

/**
 * Connects to a bus that may be starting, or starting again, as we are: after a power cut nobody says in which order. The same
 * holds for subscriptions, which parts make as they start. Each failure is told to `onError`; a password that is wrong is not
 * tried again. Gives up after `limits.busFirstMs` with the last error.
 */
export async function firstConnection(options: NatsBusOptions & { readonly clock: Clock }): Promise<Bus> {
  const { clock, onError } = options;
  const { signal } = new AbortController(); // it ends by itself
  const untilThere = <T>(operation: () => Promise<T>): Promise<T> => {
    const endMs = clock.monotonicMs() + limits.busFirstMs;
    const isRetryable = (error: unknown): boolean => {
      if (!isTransient(error) || clock.monotonicMs() >= endMs) return false;
      onError(from(error, "trying again"));
      return true;
    };
    return retry(operation, { ...patiently, clock, signal, isRetryable });
  };
  const bus = await untilThere(() => connectNatsBus(options));
  return { ...bus, subscribe: (pattern, handler) => untilThere(() => bus.subscribe(pattern, handler)) };
}

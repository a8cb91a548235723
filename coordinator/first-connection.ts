import type { Bus } from "../shared/bus/bus.ts";
import { connectNatsBus, type NatsBusOptions } from "../shared/bus/nats-bus.ts";
import type { Clock } from "../shared/clock.ts";
import { from, isTransient } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { patiently, retry } from "../shared/retry.ts";

/**
 * Connects to a bus that may be starting as we are: after a power cut nobody says in which order. Each failure is told to
 * `onError`; a password that is wrong is not tried again. Gives up after `limits.busFirstMs` with the last error.
 */
export function firstConnection(options: NatsBusOptions & { readonly clock: Clock }): Promise<Bus> {
  const { clock, onError } = options;
  const endMs = clock.monotonicMs() + limits.busFirstMs;
  const isRetryable = (error: unknown): boolean => {
    if (!isTransient(error) || clock.monotonicMs() >= endMs) return false;
    onError(from(error, "trying again"));
    return true;
  };
  const { signal } = new AbortController(); // it ends by itself
  return retry(() => connectNatsBus(options), { ...patiently, clock, signal, isRetryable });
}

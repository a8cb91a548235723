/**
 * Time, injected so that tests own it. Wall time is for people and records; only monotonic time measures durations,
 * for a machine's wall clock may jump.
 */
export interface Clock {
  /** Wall time in milliseconds since 1970. */
  nowMs(): number;
  /** Milliseconds since an arbitrary point; never goes back. */
  monotonicMs(): number;
  /** Calls once after the delay. Does not keep the process alive. Returns the way to cancel it. */
  after(delayMs: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, call) {
    const timer = setTimeout(call, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

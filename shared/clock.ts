import { uptime } from "node:os";

/**
 * Time, injected so that tests own it. Wall time is for people and records; only monotonic time measures durations,
 * for a machine's wall clock may jump.
 */
export interface Clock {
  /** Wall time in milliseconds since 1970. */
  nowMs(): number;
  /** Milliseconds since an arbitrary point; never goes back, and stands still while the machine is suspended. */
  monotonicMs(): number;
  /**
   * Milliseconds since the machine was started, those in which it was suspended included; never goes back and knows no
   * jumps of the wall clock. Exact to 10 ms. What a hypervisor hides from its guest is in no clock of the guest.
   */
  uptimeMs(): number;
  /** Calls once after the delay. Does not keep the process alive. Returns the way to cancel it. */
  after(delayMs: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  uptimeMs: () => uptime() * 1000, // CLOCK_BOOTTIME, by way of /proc/uptime
  after(delayMs, call) {
    const timer = setTimeout(call, delayMs);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

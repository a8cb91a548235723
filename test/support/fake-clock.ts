import type { Clock } from "../../shared/clock.ts";

export interface FakeClock extends Clock {
  /** Moves time on and fires what is due, in order of time. */
  advance(ms: number): void;
  /** Time has passed while nothing ran, as after SIGSTOP: all that is due fires late, once, at the new time. */
  jump(ms: number): void;
  /** The machine was suspended: no timer came nearer, and only the wall clock and the time since its start moved on. */
  suspend(ms: number): void;
}

/** Time that stands still until a test moves it. */
export function fakeClock(startMs = Date.UTC(2026, 0, 1)): FakeClock {
  let elapsed = 0;
  let suspended = 0;
  const timers = new Set<{ dueMs: number; call: () => void }>();
  return {
    nowMs: () => startMs + elapsed + suspended,
    monotonicMs: () => elapsed,
    uptimeMs: () => elapsed + suspended,
    after(delayMs, call) {
      const timer = { dueMs: elapsed + delayMs, call };
      timers.add(timer);
      return () => timers.delete(timer);
    },
    advance(ms) {
      const end = elapsed + ms;
      for (;;) {
        const due = [...timers].filter((timer) => timer.dueMs <= end).sort((a, b) => a.dueMs - b.dueMs)[0];
        if (due === undefined) break;
        timers.delete(due);
        elapsed = Math.max(elapsed, due.dueMs);
        due.call();
      }
      elapsed = end;
    },
    jump(ms) {
      elapsed += ms;
      for (const timer of [...timers]) {
        if (timer.dueMs > elapsed || !timers.delete(timer)) continue;
        timer.call();
      }
    },
    suspend(ms) {
      suspended += ms;
    },
  };
}

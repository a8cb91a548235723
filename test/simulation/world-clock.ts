import type { Clock } from "../../shared/clock.ts";

/** Time that moves only when it is told to, from one timer to the next. */
export interface WorldClock extends Clock {
  /** Moves on to the next timer and fires what is due then, in the order in which it was set; false when there is none. */
  step(): boolean;
}

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  call: (() => void) | undefined;
}

const startMs = Date.UTC(2026, 0, 1);

export function worldClock(): WorldClock {
  /** A binary heap by time, then by the order of setting. */
  const timers: Timer[] = [];
  let nowMs = 0;
  let count = 0;

  const before = (a: Timer, b: Timer): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

  function push(timer: Timer): void {
    let index = timers.push(timer) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = timers[parent];
      if (above === undefined || !before(timer, above)) break;
      timers[index] = above;
      index = parent;
    }
    timers[index] = timer;
  }

  function pop(): Timer | undefined {
    const [top] = timers;
    const last = timers.pop();
    if (top === undefined || last === undefined || timers.length === 0) return top;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      const [left, right] = [timers[child], timers[child + 1]];
      if (left === undefined) break;
      let smaller = left;
      if (right !== undefined && before(right, left)) {
        smaller = right;
        child += 1;
      }
      if (before(last, smaller)) break;
      timers[index] = smaller;
      index = child;
    }
    timers[index] = last;
    return top;
  }

  return {
    nowMs: () => startMs + Math.floor(nowMs),
    monotonicMs: () => nowMs,
    uptimeMs: () => nowMs,
    after(delayMs, call) {
      const timer: Timer = { dueMs: nowMs + Math.max(0, delayMs), order: count++, call };
      push(timer);
      return () => {
        timer.call = undefined;
      };
    },
    step() {
      let fired = false;
      for (let [top] = timers; top !== undefined && (!fired || top.dueMs <= nowMs); [top] = timers) {
        pop();
        const { call } = top;
        if (call === undefined) continue;
        nowMs = Math.max(nowMs, top.dueMs);
        fired = true;
        call();
      }
      return fired;
    },
  };
}

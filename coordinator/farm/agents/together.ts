import type { Clock } from "../../../shared/clock.ts";

/**
 * Sends at once what comes alone, and together what comes within `spacingMs` of the last: each write to the bus is a call of
 * the kernel, and of what 5,000 agents cost that beat 2,500 times a second, half were the writes of the answers.
 */
export function together(clock: Pick<Clock, "monotonicMs" | "after">, spacingMs: number): (send: () => void) => void {
  let held: (() => void)[] = [];
  let sentAtMs = -Infinity;

  function sendAll(): void {
    const now = held;
    held = [];
    sentAtMs = clock.monotonicMs();
    for (const send of now) send();
  }

  return (send) => {
    held.push(send);
    if (held.length > 1) return; // the first of them waits for the rest
    const waitMs = sentAtMs + spacingMs - clock.monotonicMs();
    if (waitMs > 0) clock.after(waitMs, sendAll);
    else sendAll();
  };
}

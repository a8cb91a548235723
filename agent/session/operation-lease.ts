import type { Clock } from "../../shared/clock.ts";
import { limits } from "../../shared/limits.ts";

/**
 * For how long the agent may go on with host operations without a word of the farm. It runs on the time since this machine
 * was started, in which a suspended machine's sleep counts and a jump of its wall clock does not, and from the time at which
 * the agent spoke, not from that of the answer: whatever the network does, it ends here before anybody could count it as
 * ended elsewhere.
 */
export interface OperationLease {
  /** The coordinator has answered what was said at this time, on `Clock.uptimeMs`. */
  heard(saidMs: number): void;
  /** How long it is, as the coordinator says; undefined when it answers no heartbeats, so its silence means nothing. */
  setLength(leaseMs: number | undefined): void;
  close(): void;
}

export interface OperationLeaseOptions {
  readonly clock: Pick<Clock, "uptimeMs" | "after">;
  readonly leaseMs: number;
  /** Told when it has run out, and again after each further lease without a word. */
  readonly onExpired: (silentMs: number) => void;
}

/** The lease begins now: what an earlier start of the agent left gets as long as everything else. */
export function operationLease({ clock, leaseMs: firstMs, onExpired }: OperationLeaseOptions): OperationLease {
  let leaseMs: number | undefined = firstMs;
  let heardMs = clock.uptimeMs();
  let toldMs = heardMs;
  let cancel = (): void => {};

  function expire(atMs: number): void {
    if (leaseMs === undefined || atMs - toldMs < leaseMs) return;
    toldMs = atMs;
    onExpired(atMs - heardMs);
  }

  /** Timers stand still with the machine, so after a sleep the end is found out at the latest one look later. */
  function arm(): void {
    cancel();
    if (leaseMs === undefined) return;
    const leftMs = Math.max(0, toldMs + leaseMs - clock.uptimeMs());
    cancel = clock.after(Math.min(leftMs, limits.operationLeaseLookMs), () => {
      expire(clock.uptimeMs());
      arm();
    });
  }

  arm();
  return {
    heard(saidMs) {
      if (saidMs <= heardMs) return;
      // It may have run out before this was said: a word that comes after the sleep does not undo it.
      expire(saidMs);
      heardMs = saidMs;
      toldMs = saidMs;
      arm();
    },
    setLength(ms) {
      if (leaseMs === undefined) {
        heardMs = clock.uptimeMs();
        toldMs = heardMs;
      }
      leaseMs = ms;
      arm();
    },
    close: () => cancel(),
  };
}

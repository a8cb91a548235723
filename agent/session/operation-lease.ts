import type { Clock } from "../../shared/clock.ts";

/**
 * For how long the agent may go on with host operations without a word of the farm. It runs on this machine's monotonic
 * clock and from the time at which the agent spoke, not from that of the answer: whatever the network does, it ends here
 * before anybody could count it as ended elsewhere.
 */
export interface OperationLease {
  /** The coordinator has answered what was said at this time. */
  heard(saidMs: number): void;
  /** How long it is, as the coordinator says. */
  setLength(leaseMs: number): void;
  close(): void;
}

export interface OperationLeaseOptions {
  readonly clock: Clock;
  readonly leaseMs: number;
  /** Told when it has run out, and again after each further lease without a word. */
  readonly onExpired: (silentMs: number) => void;
}

/** The lease begins now: what an earlier start of the agent left gets as long as everything else. */
export function operationLease({ clock, leaseMs: firstMs, onExpired }: OperationLeaseOptions): OperationLease {
  let leaseMs = firstMs;
  let heardMs = clock.monotonicMs();
  let toldMs = heardMs;
  let cancel = (): void => {};

  function arm(): void {
    cancel();
    cancel = clock.after(Math.max(0, toldMs + leaseMs - clock.monotonicMs()), () => {
      toldMs = clock.monotonicMs();
      onExpired(toldMs - heardMs);
      arm();
    });
  }

  arm();
  return {
    heard(saidMs) {
      if (saidMs <= heardMs) return;
      heardMs = saidMs;
      toldMs = saidMs;
      arm();
    },
    setLength(ms) {
      leaseMs = ms;
      arm();
    },
    close: () => cancel(),
  };
}

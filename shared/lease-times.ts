import { limits } from "./limits.ts";

/** For how long an agent may be silent, and what goes with it. */
export interface LeaseTimes {
  /** An agent that is silent for this long is lost. */
  readonly leaseMs: number;
  /** Between heartbeats of an agent. */
  readonly heartbeatMs: number;
  /** An agent whose heartbeats have no answer for this long ends its host operations. */
  readonly hostOperationLeaseMs: number;
}

/** One setting moves all three, so that they keep the ratios for which their defaults in limits.ts were chosen. */
export function leaseTimes(leaseMs: number = limits.leaseMs): LeaseTimes {
  const scale = leaseMs / limits.leaseMs;
  return {
    leaseMs,
    heartbeatMs: Math.round(limits.heartbeatIntervalMs * scale),
    hostOperationLeaseMs: Math.round(limits.hostOperationLeaseMs * scale),
  };
}

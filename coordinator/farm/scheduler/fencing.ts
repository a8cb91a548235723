import type { Epoch as EpochMessage, HeldExecution, Report } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { LeaseTimes } from "../../../shared/lease-times.ts";
import { isEpoch } from "./dispatcher.ts";
import { type Execution, isPinned } from "./execution.ts";
import type { Lease } from "./execution-table.ts";

/** What a person reads of an agent that holds no more. */
export const partings = {
  lost: ({ leaseMs }: LeaseTimes) => `was not heard for ${leaseMs / 1000} s`,
  left: () => "left",
  removed: () => "was removed",
} as const;

/** How an agent went. */
export type Parting = keyof typeof partings;

/** What a waiter reads of what stays with an agent that is gone; undefined when it does without it. */
export function waitFor(execution: Execution, how: Parting): string | undefined {
  if (isPinned(execution)) return how === "removed" ? undefined : ", and only it can go on";
  if (how !== "lost" || execution.request.atMostOnce !== true || execution.cancelReason !== undefined) return undefined;
  return "; it is not idempotent, so only that agent can say how it ended: if it stays away, cancel the run or remove the agent";
}

type Word = readonly [execution: Execution, lease: Lease, word: "held" | "back" | "not held"];

/**
 * What an agent's heartbeat means for what we believe that it holds: it has it, it has it again after it was thought
 * lost, or it has it no more.
 */
export function wordOn(believed: readonly Execution[], held: readonly HeldExecution[]): Word[] {
  return believed.flatMap((execution): Word[] => {
    const { phase, request, wait } = execution;
    // While an assignment is under way a heartbeat may have been sent before it arrived, and proves nothing.
    if (phase.kind !== "held") return [];
    const { lease } = phase;
    // It may name several attempts of one execution: one that runs, and an earlier one whose report is not answered.
    const isHeld = held.some(({ executionId, epoch }) => executionId === request.id && isEpoch(epoch, lease.epoch));
    if (!isHeld) return [[execution, lease, "not held"]];
    return [[execution, lease, wait?.cause === WaitCause.AGENT_LOST ? "back" : "held"]];
  });
}

/** Whether an agent holds with this epoch what it should not hold. */
export function isStray(known: Execution | undefined, epoch: EpochMessage): boolean {
  const phase = known?.phase;
  // The next placement of a host operation takes over what runs there; to cancel it would undo it.
  if (known !== undefined && isPinned(known) && phase?.kind !== "finished") return false;
  return phase === undefined || !("lease" in phase) || !isEpoch(epoch, phase.lease.epoch);
}

/** Whether two reports tell of the same attempt. */
export function sameAttempt(a: Report, b: Report): boolean {
  return a.epoch !== undefined && a.epoch.term === b.epoch?.term && a.epoch.number === b.epoch.number;
}

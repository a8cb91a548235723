import { type Execution, presentUpdate, type Waiter, type WaitReason } from "./execution.ts";
import type { ExecutionUpdate } from "./scheduler.ts";

/** Those who hear what becomes of what they have submitted. Listeners are called in the order of subscription. */
export interface Submitters {
  subscribe(listener: (update: ExecutionUpdate) => void): () => void;
  /** How things stand for this one. */
  tell(waiter: Waiter): void;
  /** How things stand, to all who wait and whose request is on disk. */
  tellAll(execution: Execution): void;
  /** It waits for this from now on; said once for each cause. */
  tellWait(execution: Execution, reason: WaitReason): void;
}

export function submitters(): Submitters {
  const listeners = new Set<(update: ExecutionUpdate) => void>();

  function tell(waiter: Waiter): void {
    const update = presentUpdate(waiter);
    if (update !== undefined) for (const listener of listeners) listener(update);
  }

  function tellAll({ waiters }: Execution): void {
    for (const waiter of waiters) if (waiter.isTold) tell(waiter);
  }

  return {
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    tell,
    tellAll,
    tellWait(execution, reason) {
      if (execution.wait?.cause === reason.cause) return;
      execution.wait = reason;
      tellAll(execution);
    },
  };
}

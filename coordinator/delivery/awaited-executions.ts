import { MillraceError } from "../../shared/errors.ts";
import type { Component } from "../../shared/lifecycle.ts";
import type { ExecutionOutcome, ExecutionRequest, ExecutionUpdate, Scheduler } from "../farm/scheduler/scheduler.ts";

/** Executions that are no tasks: each is of the call that waits for it. May be used concurrently. */
export interface AwaitedExecutions {
  /**
   * Resolves with what became of it. Throws `resource_exhausted` when too many wait, and when the signal aborts, with which
   * it is cancelled; others who share it keep it.
   */
  run(request: ExecutionRequest, signal: AbortSignal, watch: ExecutionWatch): Promise<ExecutionOutcome>;
}

/** Told how far it is, for a person. */
export interface ExecutionWatch {
  onWaiting(detail: string): void;
  /** @param execution whose process and log it is */
  onStarted(agent: string, execution: string): void;
}

export interface AwaitedExecutionsDeps {
  readonly scheduler: Pick<Scheduler, "submit" | "cancel" | "forget" | "subscribe" | "stats">;
  /** For a person: `imports of sources`. */
  readonly what: string;
  /** Whether an execution is one of these, by its id. */
  readonly isOwn: (id: string) => boolean;
  readonly waitingMax: number;
  /** Told when one has ended and nobody is told any more. */
  readonly onForgotten?: (id: string) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

interface Waiting extends ExecutionWatch {
  settle(outcome: ExecutionOutcome): void;
}

/** Whoever waited has gone. */
const nobody: Waiting = { onWaiting() {}, onStarted() {}, settle() {} };

/** What a former start of the coordinator left is forgotten when it has ended. */
export function awaitedExecutions(deps: AwaitedExecutionsDeps): AwaitedExecutions & Component {
  const { scheduler, what, isOwn, waitingMax, onForgotten = async () => {}, onError } = deps;
  /** By execution; at most `waitingMax`. */
  const waiting = new Map<string, Waiting>();
  let end: (() => void) | undefined;

  function forget(id: string): void {
    scheduler
      .forget(id)
      .then(() => onForgotten(id))
      .catch(onError);
  }

  function onUpdate(update: ExecutionUpdate): void {
    if (!isOwn(update.id)) return;
    const known = waiting.get(update.id) ?? nobody;
    if (update.kind === "waiting") known.onWaiting(update.detail);
    else if (update.kind === "started") known.onStarted(update.agent, update.execution);
    else {
      waiting.delete(update.id);
      known.settle(update.outcome);
      forget(update.id);
    }
  }

  return {
    name: what,
    async start() {
      end = scheduler.subscribe(onUpdate);
      for (const id of [...scheduler.stats().concluded]) if (isOwn(id)) forget(id);
    },
    async stop() {
      end?.();
    },

    async run(request, signal, watch) {
      signal.throwIfAborted();
      if (waiting.size >= waitingMax) {
        throw new MillraceError("resource_exhausted", `${waiting.size} ${what} wait; try again later`);
      }
      const { id } = request;
      const { promise, resolve, reject } = Promise.withResolvers<ExecutionOutcome>();
      promise.catch(() => {}); // awaited below, unless the submit fails
      waiting.set(id, { ...watch, settle: resolve });
      const leave = () => {
        reject(signal.reason);
        if (!waiting.has(id)) return; // it has ended just now
        // Whoever waited is gone at once; the execution is forgotten when it has ended.
        waiting.set(id, nobody);
        scheduler.cancel(id, "nobody waits for it any more");
      };
      signal.addEventListener("abort", leave, { once: true });
      try {
        await scheduler.submit(request).catch((error: unknown) => {
          waiting.delete(id);
          throw error;
        });
        return await promise;
      } finally {
        signal.removeEventListener("abort", leave);
      }
    },
  };
}

import type { Report } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { type Execution, newExecution, type Waiter } from "./execution.ts";
import type { Standing, StoredExecution } from "./execution-table.ts";
import { packed } from "./packed-request.ts";
import type { Requirement } from "./requirement.ts";
import type { ExecutionRequest } from "./scheduler.ts";

/** Which requests share which execution. Bounded by what is queued and held: nothing is kept longer than its request. */
export interface Merging {
  waiter(id: string): Waiter | undefined;
  execution(id: string): Execution | undefined;
  /** Ids of the requests that have ended and were not forgotten. */
  concluded(): Generator<string>;
  /** Shares the execution that is in flight for the same Action, else makes one; `store` puts the request, now packed, on disk. */
  join(request: ExecutionRequest, store: (request: ExecutionRequest, execution: Execution) => Promise<void>): Waiter;
  /** It waits no longer for its execution, but is known until it is forgotten. */
  leave(waiter: Waiter): void;
  /** Drops the waiter, and its execution when that has ended, or never began, and nobody else waits. */
  forget(waiter: Waiter): void;
  /** Nobody may join the execution any more. */
  close(execution: Execution): void;
  /** What a former start left, as executions with all that wait for each. */
  restore(rows: readonly StoredExecution[]): readonly Execution[];
}

export function merging(): Merging {
  const waiters = new Map<string, Waiter>();
  /** By their own id. */
  const executions = new Map<string, Execution>();
  /** Those that can be joined, by the hash of their Action, which names it without its size. */
  const open = new Map<string, Execution>();
  /** Requirements in use, each once: most executions ask for the same as many others. */
  const requirements = new Map<string, Requirement>();
  let arrivals = 0;

  function admit(request: ExecutionRequest, execution: Execution, stored: Promise<void> | undefined): Waiter {
    const outcome = execution.phase.kind === "finished" ? execution.phase.outcome : undefined;
    const waiter: Waiter = { request, execution, stored, isTold: false, outcome };
    waiters.set(request.id, waiter);
    execution.waiters.add(waiter);
    return waiter;
  }

  /** @param canShare see `isShareable`, which a packed request would have to be decoded for */
  function add(execution: Execution, canShare: boolean): Execution {
    const { request, requirement } = execution;
    if (requirements.size >= limits.matchedRequirements) requirements.clear();
    execution.requirement = requirements.get(requirement.key) ?? requirement;
    requirements.set(requirement.key, execution.requirement);
    executions.set(request.id, execution);
    const { hash } = request.actionDigest;
    if (canShare && !open.has(hash)) open.set(hash, execution);
    return execution;
  }

  function close(execution: Execution): void {
    const { hash } = execution.request.actionDigest;
    if (open.get(hash) === execution) open.delete(hash);
  }

  function restoreOne(row: StoredExecution): void {
    const { request, runsAs, outcome } = row;
    let execution = executions.get(runsAs);
    const isOver = outcome !== undefined;
    if (execution === undefined || (isOver && execution.phase.kind !== "finished")) {
      const isAlone = execution !== undefined;
      execution = executionOf(row, arrivals++);
      // One that left a shared execution before its end has only its own outcome.
      if (!isAlone) add(execution, isShareable(request));
    }
    const isOwn = execution.request.id === request.id;
    const waiter = admit(isOwn ? execution.request : packed(request), execution, undefined);
    waiter.isTold = true;
    waiter.outcome = outcome;
  }

  return {
    waiter: (id) => waiters.get(id),
    execution: (id) => executions.get(id),
    *concluded() {
      for (const [id, { outcome }] of waiters) if (outcome !== undefined) yield id;
    },
    join(request, store) {
      const canShare = isShareable(request);
      const shared = canShare ? open.get(request.actionDigest.hash) : undefined;
      const kept = packed(request);
      const execution = shared ?? add(newExecution(kept, arrivals++, request), canShare);
      return admit(kept, execution, store(kept, execution));
    },
    leave: (waiter) => void waiter.execution.waiters.delete(waiter),
    forget(waiter) {
      const { execution, request } = waiter;
      waiters.delete(request.id);
      execution.waiters.delete(waiter);
      const { kind } = execution.phase;
      if (execution.waiters.size > 0 || (kind !== "finished" && kind !== "storing")) return;
      close(execution);
      if (executions.get(execution.request.id) === execution) executions.delete(execution.request.id);
    },
    close,
    restore(rows) {
      for (const row of rows) if (row.outcome === undefined) restoreOne(row);
      // Of those that are over, one that went before the end must not stand for the end.
      const over = rows.flatMap((row) =>
        row.outcome === undefined ? [] : [{ row, ends: isWorthSharing(row.outcome) }],
      );
      for (const { row, ends } of over) if (ends) restoreOne(row);
      for (const { row, ends } of over) if (!ends) restoreOne(row);
      for (const execution of executions.values()) {
        if (execution.phase.kind === "finished" && !isWorthSharing(execution.phase.outcome)) close(execution);
      }
      return [...executions.values()];
    },
  };
}

/** Where one must not be, another may have to be. */
function isShareable({ action, avoidAgents }: ExecutionRequest): boolean {
  return !action.doNotCache && avoidAgents === undefined;
}

/** Under the id it ran as, which may be that of a request that is gone. */
function executionOf({ request, runsAs, attempts, lease, outcome }: StoredExecution, order: number): Execution {
  const execution = newExecution(packed(request, runsAs), order, request);
  execution.attempts = attempts;
  if (outcome !== undefined) execution.phase = { kind: "finished", outcome };
  else if (lease !== undefined) execution.phase = { kind: "held", lease };
  return execution;
}

/** The greatest of those who wait. */
export function priorityOf({ request, waiters }: Execution): number {
  if (waiters.size === 0) return request.priority;
  return Math.max(...[...waiters].map((waiter) => waiter.request.priority));
}

/** What the row of a request says of its execution. */
export function standingOf({ request, attempts, phase }: Execution): Standing {
  return {
    runsAs: request.id,
    attempts,
    lease: "lease" in phase ? phase.lease : undefined,
    outcome: phase.kind === "finished" ? phase.outcome : undefined,
  };
}

/** The ids of all who wait. */
export function waitingIds({ waiters }: Execution): string[] {
  return [...waiters].map(({ request }) => request.id);
}

/** Writes the end of all who wait: more may join while it is written, and each needs it on disk before it is told. */
export async function finishAll(
  { waiters }: Execution,
  write: (ids: readonly string[]) => Promise<void>,
): Promise<void> {
  const written = new Set<Waiter>();
  for (;;) {
    const left = [...waiters].filter((waiter) => !written.has(waiter));
    if (left.length === 0) return;
    await write(left.map(({ request }) => request.id));
    for (const waiter of left) written.add(waiter);
  }
}

/**
 * Whether one who asks just after the end may have this outcome, as long as an earlier one still has it to take: between
 * its question to the action cache and its submission the result may have come. A failure is tried again.
 */
export function isWorthSharing({ ending, result }: Report): boolean {
  return result !== undefined && ending?.kind === EndingKind.EXITED && ending.exitCode === 0;
}

import { from } from "../../../shared/errors.ts";
import type { AssignAnswer, Dispatcher } from "./dispatcher.ts";
import type { Execution } from "./execution.ts";
import type { ExecutionTable, Lease } from "./execution-table.ts";
import { waitingIds } from "./merging.ts";

export interface HandOutDeps {
  readonly table: Pick<ExecutionTable, "lease">;
  readonly dispatcher: Pick<Dispatcher, "assign">;
  readonly onError: (error: unknown) => void;
}

/** Hands an execution to the agent of its lease. The lease is on disk before the agent hears of it. */
export async function handOut(execution: Execution, lease: Lease, deps: HandOutDeps): Promise<AssignAnswer> {
  const { request, attempts } = execution;
  try {
    await deps.table.lease(waitingIds(execution), attempts, lease);
  } catch (error) {
    deps.onError(from(error, `storing the lease of ${request.id}`));
    return { kind: "refused", why: "the lease could not be stored" };
  }
  return await deps.dispatcher.assign(request, lease);
}

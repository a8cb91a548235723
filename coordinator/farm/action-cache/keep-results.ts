import type { Report } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { closureOf } from "../../../shared/merkle/closure.ts";
import type { ExecutionRequest } from "../scheduler/scheduler.ts";
import type { ActionCache } from "./action-cache.ts";

export interface KeepResultsDeps {
  readonly cas: Cas;
  readonly actionCache: ActionCache;
}

/**
 * Puts what the farm has executed into the action cache: exit code 0 only, never what says `do_not_cache`. The scheduler
 * calls it for reports that hold the lease alone, so a lost agent cannot write.
 */
export function keepResults({ cas, actionCache }: KeepResultsDeps) {
  return async ({ action, actionDigest }: ExecutionRequest, { ending, result, agentId }: Report): Promise<void> => {
    const succeeded = ending?.kind === EndingKind.EXITED && ending.exitCode === 0;
    if (!succeeded || result === undefined || action.doNotCache) return;
    const closure = await closureOf(cas, result);
    // Also a promise: whoever removes blobs at the moment leaves these alone until the entry says whose they are.
    if ((await cas.findMissing(closure)).length > 0) return;
    await actionCache.put(actionDigest, { result, closure, writer: `agent:${agentId}` });
  };
}

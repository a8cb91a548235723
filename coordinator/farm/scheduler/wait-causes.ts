import { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { WaitReason } from "./execution.ts";
import type { Place } from "./placement.ts";
import { describeRequirement, type Requirement, satisfies } from "./requirement.ts";
import type { WaitingQueue } from "./waiting-queue.ts";

/** Finds why each execution waits: for those that are new, and for whole lines whose cause has changed. */
export interface WaitCauses {
  /** Its submitters have not been told why it waits. */
  isNew(executionId: string): void;
  /** Those whose cause is news, with it; they are new no longer. */
  news(queue: WaitingQueue, places: readonly Place[]): ReadonlyMap<string, WaitReason>;
}

export function waitCauses(): WaitCauses {
  let fresh = new Set<string>();
  /** Of each line, by requirement. */
  let reasons: ReadonlyMap<string, WaitReason> = new Map();
  return {
    isNew: (executionId) => void fresh.add(executionId),
    news(queue, places) {
      const news = new Map<string, WaitReason>();
      const now = new Map<string, WaitReason>();
      for (const requirement of queue.requirements()) {
        const reason = reasonOf(requirement, places);
        now.set(requirement.key, reason);
        if (reasons.get(requirement.key)?.cause === reason.cause) continue;
        for (const { id } of queue.waitingFor(requirement)) news.set(id, reason);
      }
      reasons = now;
      for (const id of fresh) {
        const waiting = queue.get(id);
        const reason = waiting && now.get(waiting.requirement.key);
        if (reason !== undefined) news.set(id, reason);
      }
      fresh = new Set();
      return news;
    },
  };
}

/** Why nothing with this requirement is placed while it waits. */
function reasonOf(requirement: Requirement, places: readonly Place[]): WaitReason {
  const wanted = describeRequirement(requirement);
  const offering = wanted === "" ? "" : ` that offers ${wanted}`;
  const matching = places.filter(({ labels }) => satisfies(labels, requirement));
  if (matching.some(({ standing }) => standing === "open" || standing === "closed")) {
    return { cause: WaitCause.AGENTS_BUSY, detail: `every agent${offering} is busy` };
  }
  const pool = matching.find(({ standing }) => standing === "scaling");
  if (pool !== undefined) {
    return { cause: WaitCause.POOL_SCALING, detail: `the pool ${pool.id} is scaling: ${pool.outlook?.() ?? ""}` };
  }
  if (matching.length > 0) {
    return { cause: WaitCause.AGENT_DRAINING, detail: `every agent${offering} is draining: ${some(matching)}` };
  }
  const detail = wanted === "" ? "no agent is connected" : `no connected agent offers ${wanted}`;
  return { cause: WaitCause.NO_AGENT_MATCHES, detail };
}

/** Enough names for a person to go on with. */
function some(places: readonly Place[]): string {
  const names = places.slice(0, 3).map(({ id }) => id);
  const more = places.length - names.length;
  return `${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

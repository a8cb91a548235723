import { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { anyMatch, type Place } from "./placement.ts";
import type { WaitingQueue } from "./waiting-queue.ts";

/** Finds why each execution waits: for those that are new, and for whole lines whose cause has changed. */
export interface WaitCauses {
  /** Its submitters have not been told why it waits. */
  isNew(executionId: string): void;
  /** Those whose cause is news, with it; they are new no longer. */
  news(queue: WaitingQueue, places: readonly Place[]): ReadonlyMap<string, WaitCause>;
}

export function waitCauses(): WaitCauses {
  let fresh = new Set<string>();
  /** Of each line, by requirement. */
  let causes: ReadonlyMap<string, WaitCause> = new Map();
  return {
    isNew: (executionId) => void fresh.add(executionId),
    news(queue, places) {
      const news = new Map<string, WaitCause>();
      const now = new Map<string, WaitCause>();
      for (const requirement of queue.requirements()) {
        const cause = anyMatch(places, requirement) ? WaitCause.AGENTS_BUSY : WaitCause.NO_AGENT_MATCHES;
        now.set(requirement.key, cause);
        if (causes.get(requirement.key) === cause) continue;
        for (const { id } of queue.waitingFor(requirement)) news.set(id, cause);
      }
      causes = now;
      for (const id of fresh) {
        const requirement = queue.requirementOf(id);
        if (requirement !== undefined) news.set(id, now.get(requirement.key) ?? WaitCause.AGENTS_BUSY);
      }
      fresh = new Set();
      return news;
    },
  };
}

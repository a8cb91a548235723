import { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import type { ScalingPool } from "./agent-places.ts";
import type { WaitReason } from "./execution.ts";
import type { Place } from "./placement.ts";
import { describeRequirement, type Requirement, satisfies } from "./requirement.ts";
import type { WaitingQueue } from "./waiting-queue.ts";

/** Finds why each execution waits: for those that are new, and for whole lines whose cause has changed. */
export interface WaitCauses {
  /** Its submitters have not been told why it waits. */
  isNew(executionId: string): void;
  /** Which agents there are, which of them drain, or what pools could bring, has changed. */
  farmChanged(): void;
  /**
   * Some of those whose cause is news, at most `count`, with it; none when there are no more. A farm that has lost its last
   * agent has news for everything that is queued: whoever tells it lets others have their turn in between.
   */
  news(count: number): readonly (readonly [executionId: string, reason: WaitReason])[];
}

export interface WaitCausesDeps {
  readonly queue: Pick<WaitingQueue, "get" | "requirements" | "waitingFor">;
  /** See Places.matching. */
  readonly matching: (requirement: Requirement) => { readonly taking: number; readonly draining: readonly Place[] };
  readonly scaling: () => readonly ScalingPool[];
}

export function waitCauses({ queue, matching, scaling }: WaitCausesDeps): WaitCauses {
  /** Of each line that somebody waits in, by requirement. */
  let reasons = new Map<string, WaitReason>();
  /** Told from the front; those that wait no longer are passed over. */
  let untold = new Set<string>();
  let isStale = false;

  function reasonNow(requirement: Requirement): WaitReason {
    const pool = scaling().find(({ labels }) => satisfies(labels, requirement));
    return reasonOf(requirement, { ...matching(requirement), pool });
  }

  function refresh(): void {
    isStale = false;
    const before = reasons;
    reasons = new Map();
    for (const requirement of queue.requirements()) {
      const reason = reasonNow(requirement);
      reasons.set(requirement.key, reason);
      const known = before.get(requirement.key);
      if (known === undefined || known.cause === reason.cause) continue;
      for (const { id } of queue.waitingFor(requirement)) untold.add(id);
    }
  }

  function reasonFor(requirement: Requirement): WaitReason {
    const known = reasons.get(requirement.key);
    if (known !== undefined) return known;
    const reason = reasonNow(requirement);
    reasons.set(requirement.key, reason);
    if (reasons.size > limits.matchedRequirements) isStale = true; // most are of lines that are gone
    return reason;
  }

  return {
    isNew: (executionId) => void untold.add(executionId),
    farmChanged() {
      isStale = true;
    },
    news(count) {
      if (isStale) refresh();
      const news: [string, WaitReason][] = [];
      for (const id of untold) {
        if (news.length >= count) return news;
        untold.delete(id);
        const waiting = queue.get(id);
        if (waiting !== undefined) news.push([id, reasonFor(waiting.requirement)]);
      }
      untold = new Set();
      return news;
    },
  };
}

interface Supply extends ReturnType<WaitCausesDeps["matching"]> {
  /** The first that could bring an agent for it. */
  readonly pool: ScalingPool | undefined;
}

/** Why nothing with this requirement is placed while it waits. */
function reasonOf(requirement: Requirement, { taking, draining, pool }: Supply): WaitReason {
  const wanted = describeRequirement(requirement);
  const { excludes = [] } = requirement;
  const except = excludes.length === 0 ? "" : ` (not counting ${excludes.join(" and ")}, which must not have it)`;
  const offering = `${wanted === "" ? "" : ` that offers ${wanted}`}${except}`;
  if (taking > 0) return { cause: WaitCause.AGENTS_BUSY, detail: `every agent${offering} is busy` };
  if (pool !== undefined) {
    return { cause: WaitCause.POOL_SCALING, detail: `the pool ${pool.name} is scaling: ${pool.outlook()}` };
  }
  if (draining.length > 0) {
    return { cause: WaitCause.AGENT_DRAINING, detail: `every agent${offering} is draining: ${some(draining)}` };
  }
  const detail = wanted === "" ? "no agent is connected" : `no connected agent offers ${wanted}`;
  return { cause: WaitCause.NO_AGENT_MATCHES, detail: `${detail}${except}` };
}

/** Enough names for a person to go on with. */
function some(places: readonly Place[]): string {
  const names = places.slice(0, 3).map(({ id }) => id);
  const more = places.length - names.length;
  return `${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

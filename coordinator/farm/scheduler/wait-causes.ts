import { WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import type { ScalingPool } from "./agent-places.ts";
import type { WaitReason } from "./execution.ts";
import type { Matching, Place } from "./placement.ts";
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
  readonly matching: (requirement: Requirement) => Matching;
  readonly scaling: () => readonly ScalingPool[];
}

export function waitCauses({ queue, matching, scaling }: WaitCausesDeps): WaitCauses {
  /** Of each line that somebody waits in, by requirement: as it was told last. */
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

  /** As it is now, once for all that ask in one turn: who pauses changes without a word. */
  function reasonsNow(): (requirement: Requirement) => WaitReason {
    const known = new Map<string, WaitReason>();
    return (requirement) => {
      const { key } = requirement;
      const reason = known.get(key) ?? reasonNow(requirement);
      known.set(key, reason);
      reasons.set(key, reason);
      if (reasons.size > limits.matchedRequirements) isStale = true; // most are of lines that are gone
      return reason;
    };
  }

  return {
    isNew: (executionId) => void untold.add(executionId),
    farmChanged() {
      isStale = true;
    },
    news(count) {
      if (isStale) refresh();
      const reasonFor = reasonsNow();
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

interface Supply extends Matching {
  /** The first that could bring an agent for it. */
  readonly pool: ScalingPool | undefined;
}

/** Why nothing with this requirement is placed while it waits. */
function reasonOf(requirement: Requirement, { taking, pausing, draining, pool }: Supply): WaitReason {
  const wanted = describeRequirement(requirement);
  const { excludes = [] } = requirement;
  const except = excludes.length === 0 ? "" : ` (not counting ${excludes.join(" and ")}, which must not have it)`;
  const offering = `${wanted === "" ? "" : ` that offers ${wanted}`}${except}`;
  if (taking > 0) {
    const others = pausing.length < taking ? "; the others are busy" : "";
    const detail =
      pausing.length === 0
        ? `every agent${offering} is busy`
        : `no agent${offering} takes work at this moment: ${some(pausing, whyPausing)}${others}`;
    return { cause: WaitCause.AGENTS_BUSY, detail };
  }
  if (pool !== undefined) {
    return { cause: WaitCause.POOL_SCALING, detail: `the pool ${pool.name} is scaling: ${pool.outlook()}` };
  }
  if (draining.length > 0) {
    return { cause: WaitCause.AGENT_DRAINING, detail: `every agent${offering} is draining: ${some(draining)}` };
  }
  const detail = wanted === "" ? "no agent is connected" : `no connected agent offers ${wanted}`;
  return { cause: WaitCause.NO_AGENT_MATCHES, detail: `${detail}${except}` };
}

/** Enough for a person to go on with. */
function some(places: readonly Place[], say: (place: Place) => string = ({ id }) => id): string {
  const names = places.slice(0, 3).map(say);
  const more = places.length - names.length;
  return `${names.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}

function whyPausing({ id, standing }: Place): string {
  if (standing === "resting") return `${id} rests after a failure`;
  return `${id} has refused something and is asked again at its next heartbeat`;
}

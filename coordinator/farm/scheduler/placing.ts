import type { Clock } from "../../../shared/clock.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentRegistry } from "../agents/agent-registry.ts";
import { type AgentPlaces, agentPlaces, type PoolOutlook } from "./agent-places.ts";
import type { Execution, WaitReason } from "./execution.ts";
import type { Merging } from "./merging.ts";
import { nextPlacement } from "./placement.ts";
import { queueView } from "./queue-places.ts";
import type { QueueView } from "./queue-view.ts";
import { type Slots, slots } from "./slots.ts";
import { waitCauses } from "./wait-causes.ts";
import { waitingQueue } from "./waiting-queue.ts";

/** What waits, what is held and who could have it, kept in step; it finds who goes where whenever any of them changes. */
export interface Placing {
  readonly slots: Slots;
  readonly places: AgentPlaces;
  readonly view: QueueView;
  /** It waits from now on, with this priority. */
  add(execution: Execution, priority: number): void;
  remove(execution: Execution): void;
  /** Something may be placed now: looked at once for all that changes in this turn of the loop. */
  look(): void;
  readonly waiting: number;
}

export interface PlacingDeps {
  readonly agents: Pick<AgentRegistry, "list">;
  readonly pools?: PoolOutlook;
  readonly clock: Clock;
  readonly merging: Pick<Merging, "execution" | "waiter">;
  /** Ends it. */
  readonly signal: AbortSignal;
  /** It waits no more and goes to this agent: takes the slot before it returns. */
  readonly assign: (execution: Execution, agentId: string) => void;
  /** It goes on waiting, for this. */
  readonly tellWait: (execution: Execution, reason: WaitReason) => void;
}

export function placing({ agents, pools, clock, merging, signal, assign, tellWait }: PlacingDeps): Placing {
  const queue = waitingQueue((group) => held.runningOf(group));
  const held = slots((agentId, group) => {
    places.usedChanged(agentId);
    queue.runningChanged(group);
  });
  const onChange = (): void => {
    causes.farmChanged();
    look();
  };
  const places = agentPlaces({ agents, clock, pools, used: (id) => held.used(id), onChange });
  const { now } = places;
  const scaling = () => pools?.scaling() ?? [];
  const causes = waitCauses({ queue, scaling, matching: (requirement) => now.matching(requirement) });
  let isLooking = false;

  function look(): void {
    if (isLooking) return;
    isLooking = true;
    queueMicrotask(turn);
  }

  /** A share of what there is to do. Why the rest waits is told when nothing more can be placed. */
  function turn(): void {
    if (signal.aborted) return;
    for (let placed = 0; placed < limits.placementsPerTurn; placed += 1) {
      const next = nextPlacement(queue, now);
      const execution = next && merging.execution(next.waiting.id);
      if (next === undefined || execution === undefined) return tellWaits();
      queue.remove(next.waiting.id);
      assign(execution, next.agentId);
    }
    setImmediate(turn);
  }

  function tellWaits(): void {
    const news = causes.news(limits.waitsToldPerTurn);
    for (const [id, reason] of news) {
      const execution = merging.execution(id);
      if (execution?.phase.kind === "queued") tellWait(execution, reason);
    }
    if (news.length === limits.waitsToldPerTurn) setImmediate(turn);
    else isLooking = false;
  }

  return {
    slots: held,
    places,
    view: queueView({ queue, places: () => now.all(), scaling, slots: held, merging }),
    add({ request: { id, fairGroup }, order, requirement }, priority) {
      queue.add({ id, priority, fairGroup, order, requirement });
      causes.isNew(id);
      look();
    },
    remove: ({ request }) => void queue.remove(request.id),
    look,
    get waiting() {
      return queue.size;
    },
  };
}

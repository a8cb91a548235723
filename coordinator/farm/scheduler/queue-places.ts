import { limits } from "../../../shared/limits.ts";
import type { ScalingPool } from "./agent-places.ts";
import type { Merging } from "./merging.ts";
import type { Place } from "./placement.ts";
import type { QueuePlace, QueueView } from "./queue-view.ts";
import { type Requirement, satisfies } from "./requirement.ts";
import type { Slots } from "./slots.ts";
import type { Waiting, WaitingQueue } from "./waiting-queue.ts";

export interface QueueViewDeps extends Omit<QueueNow, "places" | "scaling"> {
  readonly places: () => Iterable<Place>;
  readonly scaling: () => readonly ScalingPool[];
  /** Knows whose execution a request waits for. */
  readonly merging: Pick<Merging, "waiter">;
  readonly queue: Pick<WaitingQueue, "get" | "requirements" | "waitingFor" | "countOf">;
}

/** The queue of a scheduler, for those who ask. */
export function queueView({ merging, places, scaling, ...parts }: QueueViewDeps): QueueView {
  return {
    placesOf(ids) {
      const runsAs = ids.map((id) => [id, merging.waiter(id)?.execution.request.id ?? id] as const);
      const found = queuePlaces(
        runsAs.map(([, execution]) => execution),
        { ...parts, places: [...places()], scaling: scaling() },
      );
      const known = runsAs.flatMap(([id, execution]) => {
        const place = found.get(execution);
        return place === undefined ? [] : [[id, place] as const];
      });
      return new Map(known);
    },
    lines() {
      const { queue } = parts;
      return [...queue.requirements()].map((requirement) => {
        return { properties: requirement.properties, count: queue.countOf(requirement) };
      });
    },
  };
}

/** What the answer is made of. */
export interface QueueNow {
  readonly queue: Pick<WaitingQueue, "get" | "requirements" | "waitingFor">;
  readonly places: readonly Place[];
  readonly scaling: readonly ScalingPool[];
  readonly slots: Pick<Slots, "runningOf" | "heldOn">;
}

/** Where these executions stand, by id. Pure. */
export function queuePlaces(ids: readonly string[], now: QueueNow): ReadonlyMap<string, QueuePlace> {
  const lines = new Map<string, Line>();
  const found = new Map<string, QueuePlace>();
  for (const id of ids) {
    const entry = now.queue.get(id);
    if (entry === undefined) continue;
    const { requirement } = entry;
    const line = lines.get(requirement.key) ?? lineOf(requirement, now);
    lines.set(requirement.key, line);
    found.set(id, { ...line.agents, waiting: line.waiting, position: line.positionOf(entry) });
  }
  return found;
}

/** All that compete with one requirement for agents. */
interface Line {
  readonly waiting: number;
  readonly agents: Pick<QueuePlace, "slots" | "slotsUsed" | "holders" | "pools">;
  positionOf(entry: Waiting): number;
}

/** The order of arrival of each, ascending, by fair group. */
type Groups = Map<string, number[]>;

function lineOf(requirement: Requirement, { queue, places, scaling, slots }: QueueNow): Line {
  const { excludes = [] } = requirement;
  const matching = places.filter(
    ({ id, standing, labels }) => standing !== "draining" && !excludes.includes(id) && satisfies(labels, requirement),
  );
  const priorities = new Map<number, Groups>();
  let waiting = 0;
  for (const other of queue.requirements()) {
    if (other.key !== requirement.key && !matching.some(({ labels }) => satisfies(labels, other))) continue;
    for (const { priority, fairGroup, order } of queue.waitingFor(other)) {
      waiting += 1;
      const groups = priorities.get(priority) ?? new Map<string, number[]>();
      priorities.set(priority, groups);
      const orders = groups.get(fairGroup);
      if (orders === undefined) groups.set(fairGroup, [order]);
      else orders.push(order);
    }
  }
  for (const groups of priorities.values()) for (const orders of groups.values()) orders.sort((a, b) => a - b);
  const holders = matching.flatMap(({ id }) =>
    slots.heldOn(id).map(({ request }) => ({ execution: request.id, agent: id })),
  );
  return {
    waiting,
    agents: {
      slots: matching.reduce((sum, place) => sum + place.slots, 0),
      slotsUsed: holders.length,
      holders: holders.slice(0, limits.queueHolders),
      pools: scaling.filter(({ labels }) => satisfies(labels, requirement)).map(({ name }) => name),
    },
    positionOf: (entry) => positionIn(priorities, entry, (group) => slots.runningOf(group)),
  };
}

/**
 * Placing adds one to what its group has running, so the k-th of a group (from 0) goes when its group stands at what runs
 * now, and what of it has a greater priority, plus k: the order within a priority is by that level, then by arrival. What
 * goes before one of them is counted group by group, without sorting all.
 */
function positionIn(
  priorities: ReadonlyMap<number, Groups>,
  { priority, fairGroup, order }: Waiting,
  running: (fairGroup: string) => number,
): number {
  const first = new Map<string, number>();
  let before = 0;
  for (const [other, groups] of priorities) {
    if (other <= priority) continue;
    for (const [group, orders] of groups) {
      before += orders.length;
      first.set(group, (first.get(group) ?? 0) + orders.length);
    }
  }
  const levelOf = (group: string): number => running(group) + (first.get(group) ?? 0);
  const groups: Groups = priorities.get(priority) ?? new Map();
  const level = levelOf(fairGroup) + (groups.get(fairGroup) ?? []).indexOf(order);
  for (const [group, orders] of groups) {
    const same = level - levelOf(group);
    before += Math.min(orders.length, Math.max(0, same));
    const rival = orders[same];
    if (rival !== undefined && rival < order) before += 1;
  }
  return before + 1;
}

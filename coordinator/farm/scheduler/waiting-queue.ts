import { type Heap, heap } from "./heap.ts";
import type { Requirement } from "./requirement.ts";

/** An execution that waits for an agent. */
export interface Waiting {
  readonly id: string;
  readonly priority: number;
  readonly fairGroup: string;
  readonly requirement: Requirement;
  /** Its place in the order of arrival, which it keeps whatever becomes of its attempts. Of no two the same. */
  readonly order: number;
}

/**
 * Who is next: the greatest priority; among equals the fair group with the fewest executions running; among equals the
 * one that came first. Adding and removing cost O(log n), and so does each change of what a group has running, in each line
 * and priority that the group waits in; finding the next costs O(lines).
 */
export interface WaitingQueue {
  add(waiting: Waiting): void;
  remove(id: string): boolean;
  /** Undefined when it does not wait here. */
  get(id: string): Waiting | undefined;
  /** The requirements that somebody waits with. */
  requirements(): Iterable<Requirement>;
  /** How many wait with this requirement. */
  countOf(requirement: Requirement): number;
  /** All that wait with this requirement, in no order. */
  waitingFor(requirement: Requirement): Iterable<Waiting>;
  /** The next among the lines that pass. */
  next(passes: (requirement: Requirement) => boolean): Waiting | undefined;
  /** The group has more or fewer executions running than before. */
  runningChanged(fairGroup: string): void;
  readonly size: number;
}

/** Executions that ask for the same. */
interface Line {
  readonly requirement: Requirement;
  readonly ranks: Heap<Rank>;
  size: number;
}

/** Those of one priority in a line. */
interface Rank {
  readonly line: Line;
  readonly priority: number;
  readonly groups: Heap<Group>;
}

/** Those of one fair group in a rank. What it is compared by is in itself: of a long queue, nothing else is at hand. */
interface Group {
  readonly rank: Rank;
  readonly name: string;
  readonly arrivals: Heap<Waiting>;
  /** Of the fair group, now. */
  running: number;
  /** `order` of the first of its arrivals. */
  firstOrder: number;
}

/** @param running counts the executions of a fair group that run now; `runningChanged` is called at each change */
export function waitingQueue(running: (fairGroup: string) => number): WaitingQueue {
  const entries = new Map<string, Waiting>();
  const lines = new Map<string, Line>();
  const ranks = new Map<Line, Map<number, Rank>>();
  const groups = new Map<Rank, Map<string, Group>>();
  /** Of each fair group, wherever it waits. */
  const everywhere = new Map<string, Set<Group>>();

  function groupOf({ requirement, priority, fairGroup }: Waiting): Group {
    const line = getOrMake(lines, requirement.key, () => {
      return { requirement, ranks: heap<Rank>((a, b) => a.priority > b.priority), size: 0 };
    });
    const ofLine = getOrMake(ranks, line, () => new Map<number, Rank>());
    const rank = getOrMake(ofLine, priority, () => ({ line, priority, groups: heap<Group>(isBeforeInRank) }));
    const ofRank = getOrMake(groups, rank, () => new Map<string, Group>());
    return getOrMake(ofRank, fairGroup, () => {
      const arrivals = heap<Waiting>((a, b) => a.order < b.order);
      const group: Group = { rank, name: fairGroup, arrivals, running: running(fairGroup), firstOrder: Infinity };
      getOrMake(everywhere, fairGroup, () => new Set<Group>()).add(group);
      return group;
    });
  }

  /** Its arrivals have changed. */
  function arrivalsChanged(group: Group): void {
    group.firstOrder = group.arrivals.first?.order ?? Infinity;
    group.rank.groups.moved(group);
  }

  /** An empty group leaves its rank, an empty rank its line, an empty line the queue. */
  function leave(group: Group): void {
    const { rank, name } = group;
    const { line } = rank;
    rank.groups.remove(group);
    groups.get(rank)?.delete(name);
    const others = everywhere.get(name);
    others?.delete(group);
    if (others?.size === 0) everywhere.delete(name);
    if (rank.groups.size > 0) return;
    groups.delete(rank);
    line.ranks.remove(rank);
    ranks.get(line)?.delete(rank.priority);
    if (line.ranks.size > 0) return;
    ranks.delete(line);
    lines.delete(line.requirement.key);
  }

  return {
    add(waiting) {
      if (entries.has(waiting.id)) return;
      entries.set(waiting.id, waiting);
      const group = groupOf(waiting);
      group.arrivals.add(waiting);
      const { rank } = group;
      rank.groups.add(group);
      arrivalsChanged(group);
      rank.line.ranks.add(rank);
      rank.line.size += 1;
    },

    remove(id) {
      const waiting = entries.get(id);
      if (waiting === undefined) return false;
      entries.delete(id);
      const group = groupOf(waiting);
      if (group.arrivals.size === 1) leave(group);
      group.arrivals.remove(waiting);
      group.rank.line.size -= 1;
      arrivalsChanged(group);
      return true;
    },

    get: (id) => entries.get(id),

    *requirements() {
      for (const { requirement } of lines.values()) yield requirement;
    },

    countOf: ({ key }) => lines.get(key)?.size ?? 0,

    *waitingFor({ key }) {
      for (const rank of lines.get(key)?.ranks ?? []) for (const group of rank.groups) yield* group.arrivals;
    },

    next(passes) {
      let best: Group | undefined;
      for (const { requirement, ranks: ofLine } of lines.values()) {
        const first = ofLine.first?.groups.first;
        if (first === undefined || (best !== undefined && !goesBefore(first, best))) continue;
        if (passes(requirement)) best = first;
      }
      return best?.arrivals.first;
    },

    runningChanged(fairGroup) {
      const now = running(fairGroup);
      for (const group of everywhere.get(fairGroup) ?? []) {
        group.running = now;
        group.rank.groups.moved(group);
      }
    },

    get size() {
      return entries.size;
    },
  };
}

function goesBefore(a: Group, b: Group): boolean {
  if (a.rank.priority !== b.rank.priority) return a.rank.priority > b.rank.priority;
  return isBeforeInRank(a, b);
}

function isBeforeInRank(a: Group, b: Group): boolean {
  return a.running < b.running || (a.running === b.running && a.firstOrder < b.firstOrder);
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

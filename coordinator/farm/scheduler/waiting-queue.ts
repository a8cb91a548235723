import type { Requirement } from "./requirement.ts";

/** An execution that waits for an agent. */
export interface Waiting {
  readonly id: string;
  readonly priority: number;
  readonly fairGroup: string;
  readonly requirement: Requirement;
}

/** As it stands in the queue. */
export interface Placeable extends Waiting {
  /** Place in the order of arrival. */
  readonly order: number;
}

/** By id, in order of arrival. */
type Arrivals = Map<string, Placeable>;
/** By fair group. */
type Groups = Map<string, Arrivals>;

/** Executions that ask for the same, by priority. */
interface Line {
  readonly requirement: Requirement;
  readonly priorities: Map<number, Groups>;
  size: number;
}

/**
 * Who is next: the greatest priority; among equals the fair group with the fewest executions running; among equals the
 * one that came first. Adding and removing cost O(1); finding the head of a line costs O(priorities + groups), never
 * O(executions).
 */
export interface WaitingQueue {
  add(waiting: Waiting): void;
  remove(id: string): boolean;
  /** Undefined when it does not wait here. */
  get(id: string): Placeable | undefined;
  /** The requirements that somebody waits with. */
  requirements(): Iterable<Requirement>;
  /** How many wait with this requirement. */
  countOf(requirement: Requirement): number;
  /** All that wait with this requirement. */
  waitingFor(requirement: Requirement): Iterable<Placeable>;
  /** The next among the lines that pass; `running` counts the executions of a fair group that run now. */
  next(passes: (requirement: Requirement) => boolean, running: (fairGroup: string) => number): Waiting | undefined;
  readonly size: number;
}

export function waitingQueue(): WaitingQueue {
  const lines = new Map<string, Line>();
  const entries = new Map<string, Placeable>();
  let arrivals = 0;

  function head(line: Line, running: (group: string) => number): Placeable | undefined {
    const priority = Math.max(...line.priorities.keys());
    let best: Placeable | undefined;
    for (const group of line.priorities.get(priority)?.values() ?? []) {
      const first = group.values().next().value;
      if (first !== undefined && (best === undefined || goesBefore(first, best, running))) best = first;
    }
    return best;
  }

  return {
    add(waiting) {
      const entry: Placeable = { ...waiting, order: arrivals++ };
      const key = waiting.requirement.key;
      const { requirement } = waiting;
      const line = getOrMake(lines, key, (): Line => ({ requirement, priorities: new Map(), size: 0 }));
      const groups = getOrMake(line.priorities, waiting.priority, (): Groups => new Map());
      getOrMake(groups, waiting.fairGroup, (): Arrivals => new Map()).set(waiting.id, entry);
      line.size += 1;
      entries.set(waiting.id, entry);
    },

    remove(id) {
      const entry = entries.get(id);
      if (entry === undefined) return false;
      entries.delete(id);
      const line = lines.get(entry.requirement.key);
      const groups = line?.priorities.get(entry.priority);
      const group = groups?.get(entry.fairGroup);
      group?.delete(id);
      if (group?.size === 0) groups?.delete(entry.fairGroup);
      if (groups?.size === 0) line?.priorities.delete(entry.priority);
      if (line !== undefined && --line.size === 0) lines.delete(entry.requirement.key);
      return true;
    },

    get: (id) => entries.get(id),

    *requirements() {
      for (const line of lines.values()) yield line.requirement;
    },

    countOf: (requirement) => lines.get(requirement.key)?.size ?? 0,

    *waitingFor(requirement) {
      for (const groups of lines.get(requirement.key)?.priorities.values() ?? []) {
        for (const group of groups.values()) yield* group.values();
      }
    },

    next(passes, running) {
      let best: Placeable | undefined;
      for (const line of lines.values()) {
        if (!passes(line.requirement)) continue;
        const first = head(line, running);
        if (first !== undefined && (best === undefined || goesBefore(first, best, running))) best = first;
      }
      return best;
    },

    get size() {
      return entries.size;
    },
  };
}

function goesBefore(a: Placeable, b: Placeable, running: (group: string) => number): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  const difference = running(a.fairGroup) - running(b.fairGroup);
  return difference === 0 ? a.order < b.order : difference < 0;
}

function getOrMake<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}

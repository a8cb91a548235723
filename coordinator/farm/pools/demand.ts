import type { QueuedLine } from "../scheduler/queue-view.ts";
import { satisfies } from "../scheduler/requirement.ts";

/** What the agents of a pool offer, or will. */
export interface PoolOffer {
  readonly name: string;
  /** What is compared with platform properties, as in `Place`. */
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * How many of those that wait count for each pool, by name. What several pools could run counts for the first of them by
 * name alone: else each would bring agents for all of it.
 */
export function demandOf(lines: Iterable<QueuedLine>, offers: readonly PoolOffer[]): ReadonlyMap<string, number> {
  const byName = [...offers].sort((a, b) => (a.name < b.name ? -1 : 1));
  const demand = new Map<string, number>();
  for (const line of lines) {
    const first = byName.find(({ labels }) => satisfies(labels, line));
    if (first !== undefined) demand.set(first.name, (demand.get(first.name) ?? 0) + line.count);
  }
  return demand;
}

/** Where an execution stands among those that wait for the same agents. */
export interface QueuePlace {
  /** From 1: it is placed with so many slots that come free, if none comes and none goes before it. */
  readonly position: number;
  /** How many wait for these agents, itself included. */
  readonly waiting: number;
  /** Of the agents that match and do not drain. */
  readonly slots: number;
  readonly slotsUsed: number;
  /** What holds these slots; at most `limits.queueHolders`, by agent. */
  readonly holders: readonly { readonly execution: string; readonly agent: string }[];
  /** Names of the pools that could bring agents for it. */
  readonly pools: readonly string[];
}

/** Executions that wait and ask for the same. */
export interface QueuedLine {
  readonly properties: readonly { readonly name: string; readonly value: string }[];
  readonly count: number;
}

/**
 * The queue as a person sees it. Nothing is kept up to date for it: a call costs O(n) in what is queued, once for all ids
 * with the same requirement, so it is for questions and never for every change.
 */
export interface QueueView {
  /** By id as submitted; those that are not queued are left out. */
  placesOf(ids: readonly string[]): ReadonlyMap<string, QueuePlace>;
  /** All that wait; costs O(n) in the different requirements alone. */
  lines(): readonly QueuedLine[];
}

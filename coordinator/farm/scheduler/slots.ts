import type { Execution } from "./execution.ts";
import type { Lease } from "./execution-table.ts";

/** Who holds what: executions by agent, and how many of each fair group run. */
export interface Slots {
  take(execution: Execution, lease: Lease): void;
  free(execution: Execution, lease: Lease): void;
  /** A copy: it may be walked while slots are freed. */
  heldOn(agentId: string): readonly Execution[];
  used(agentId: string): number;
  runningOf(fairGroup: string): number;
  /** How many run, and their ids by agent. */
  stats(): { readonly running: number; readonly heldBy: ReadonlyMap<string, readonly string[]> };
}

/** @param onChange told of the agent and of the fair group, after each change */
export function slots(onChange: (agentId: string, fairGroup: string) => void = () => {}): Slots {
  const byAgent = new Map<string, Set<Execution>>();
  const byGroup = new Map<string, number>();
  const count = (group: string, by: number): void => {
    const now = (byGroup.get(group) ?? 0) + by;
    if (now === 0) byGroup.delete(group);
    else byGroup.set(group, now);
  };
  return {
    take(execution, { agentId }) {
      const held = byAgent.get(agentId) ?? new Set();
      byAgent.set(agentId, held.add(execution));
      count(execution.request.fairGroup, 1);
      onChange(agentId, execution.request.fairGroup);
    },
    free(execution, { agentId }) {
      const held = byAgent.get(agentId);
      if (held === undefined || !held.delete(execution)) return;
      if (held.size === 0) byAgent.delete(agentId);
      count(execution.request.fairGroup, -1);
      onChange(agentId, execution.request.fairGroup);
    },
    heldOn: (agentId) => [...(byAgent.get(agentId) ?? [])],
    used: (agentId) => byAgent.get(agentId)?.size ?? 0,
    runningOf: (fairGroup) => byGroup.get(fairGroup) ?? 0,
    stats() {
      const entries = [...byAgent].map(([agent, held]) => [agent, [...held].map(({ request }) => request.id)] as const);
      return { running: entries.reduce((sum, [, ids]) => sum + ids.length, 0), heldBy: new Map(entries) };
    },
  };
}

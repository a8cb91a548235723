/**
 * Executions that agents have, or may have, although they are placed there no more: one whose assignment had no answer, and
 * those that an agent still names. Such an agent is not idle: its pool must not take it away as one.
 */
export interface Strays {
  /** It had no answer to this assignment. Its next heartbeat says whether it has it. */
  add(agentId: string, executionId: string): void;
  /** What of an agent's heartbeat is placed there no more: all that counts from now on. */
  named(agentId: string, executionIds: readonly string[]): void;
  gone(agentId: string): void;
  /** Their ids by agent; agents without any are not in it. */
  byAgent(): ReadonlyMap<string, readonly string[]>;
}

export function strays(): Strays {
  /** Only agents that have some; an agent has few more than slots. */
  const all = new Map<string, readonly string[]>();
  return {
    add(agentId, executionId) {
      all.set(agentId, [...new Set([...(all.get(agentId) ?? []), executionId])]);
    },
    named(agentId, executionIds) {
      if (executionIds.length === 0) all.delete(agentId);
      else all.set(agentId, executionIds);
    },
    gone: (agentId) => void all.delete(agentId),
    byAgent: () => all,
  };
}

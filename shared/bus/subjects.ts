/**
 * Every NATS subject, in one place. An agent publishes only below `millrace.farm.*.<its id>` and listens only below
 * `millrace.agent.<its id>`, on its inbox and on `rollCall`, so that a server can hold each agent to it.
 */
export const subjects = {
  /** Request: Assign → AssignReply. */
  assign: (agentId: string) => `millrace.agent.${agentId}.assign`,
  /** Request: Cancel → CancelReply. */
  cancel: (agentId: string) => `millrace.agent.${agentId}.cancel`,
  /** Rejoin, to an agent that the coordinator does not know. */
  rejoin: (agentId: string) => `millrace.agent.${agentId}.rejoin`,
  /** Drain, to an agent. */
  drain: (agentId: string) => `millrace.agent.${agentId}.drain`,
  /** Request: OfferShell → OfferShellReply. */
  shell: (agentId: string) => `millrace.agent.${agentId}.shell`,
  /** RollCall, to all agents. */
  rollCall: "millrace.agents.roll-call",
  /** Heartbeat, from one agent; `*` for all. */
  heartbeat: (agentId: string) => `millrace.farm.heartbeat.${agentId}`,
  /** Request: Report → ReportReply; `*` for all. */
  report: (agentId: string) => `millrace.farm.report.${agentId}`,
  /** Goodbye, from one agent; `*` for all. */
  goodbye: (agentId: string) => `millrace.farm.goodbye.${agentId}`,
} as const;

/** Before the subjects on which an agent gets the answers to its requests. */
export function inboxOf(agentId: string): string {
  return `millrace.inbox.${agentId}`;
}

/** All that an agent's user on the bus may do, besides answering what it was asked. */
export function permissionsOf(agentId: string) {
  return {
    publish: [`millrace.farm.*.${agentId}`],
    subscribe: [`millrace.agent.${agentId}.>`, "millrace.agents.>", `${inboxOf(agentId)}.>`],
  } as const;
}

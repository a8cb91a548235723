/**
 * Every NATS subject, in one place. An agent publishes only below `millrace.farm.*.<its id>` and listens only below
 * `millrace.agent.<its id>` and on `rollCall`, so that a server can hold each agent to it. Today all agents share one
 * user, which holds them to agents' subjects in general.
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
  /** RollCall, to all agents. */
  rollCall: "millrace.agents.roll-call",
  /** Heartbeat, from one agent; `*` for all. */
  heartbeat: (agentId: string) => `millrace.farm.heartbeat.${agentId}`,
  /** Request: Report → ReportReply; `*` for all. */
  report: (agentId: string) => `millrace.farm.report.${agentId}`,
  /** Goodbye, from one agent; `*` for all. */
  goodbye: (agentId: string) => `millrace.farm.goodbye.${agentId}`,
} as const;

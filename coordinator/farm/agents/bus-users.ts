/** An agent's user on the bus: allowed the subjects of this agent and no others. */
export interface BusUser {
  readonly agentId: string;
  /** An nkey. */
  readonly publicKey: string;
}

/** Who may connect to the bus as which agent. */
export interface BusUsers {
  /**
   * From now on these and no others: connections of others are closed, all the rest stay. Resolves when that is in force.
   * Calls that come while one is under way are put into force together, and the last one counts. Throws `unavailable` when a
   * server that runs does not confirm it; one that does not run has it in force before it serves again.
   */
  admit(users: readonly BusUser[]): Promise<void>;
}

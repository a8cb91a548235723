/** An agent's user on the bus: allowed the subjects of this agent and no others. */
export interface BusUser {
  readonly agentId: string;
  /** An nkey. */
  readonly publicKey: string;
}

/** What an agent is told of its way to the bus. Without a user it signs in with the key that it enrolled with. */
export interface BusAccess {
  readonly user: string;
  readonly password: string;
}

/** Who may connect to the bus as which agent. */
export interface BusUsers {
  /**
   * From now on these and no others: connections of others are closed, all the rest stay. Resolves when that is in force.
   * Calls that come while one is under way are put into force together, the last one counts. Throws `unavailable` when the
   * server does not confirm it; it is then in force at the latest when the server has started again.
   */
  admit(users: readonly BusUser[]): Promise<void>;
  /** Undefined where each agent has a user of its own. */
  readonly sharedAccess: BusAccess | undefined;
}

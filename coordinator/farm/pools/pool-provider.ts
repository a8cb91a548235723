/** An agent to be started. */
export interface NewAgent {
  /** The id under which it has to join: `millrace agent --name`. */
  readonly id: string;
  /** Lets it in. A secret. */
  readonly token: string;
}

/** Agents to be started, all alike. */
export interface AgentOrder {
  readonly pool: string;
  /** `host:port` of the coordinator. */
  readonly coordinator: string;
  readonly slots: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly ephemeral: boolean;
  readonly agents: readonly NewAgent[];
}

/**
 * Starts and ends the machines or processes of one pool's agents. The farm decides how many and which; a provider keeps
 * no numbers of its own.
 *
 * Calls are made one after another. Each may be repeated with the same ids, since the farm may end before it has noted
 * that one succeeded; so to add what is there and to remove what is not there does nothing. What throws has perhaps done
 * a part; it is called again after a pause. `list` names what `add` has asked for from its return on.
 */
export interface PoolProvider {
  add(order: AgentOrder, signal: AbortSignal): Promise<void>;
  /** Only ids of agents that hold nothing, or are gone. Resolves when they are ended, or will be without another word. */
  remove(ids: readonly string[], signal: AbortSignal): Promise<void>;
  /** The agents that it believes to run, starting ones included; the farm forgets or removes whatever does not fit. */
  list(signal: AbortSignal): Promise<readonly string[]>;
  /** The coordinator stops on purpose. No call is under way, and none follows. */
  close(): Promise<void>;
}

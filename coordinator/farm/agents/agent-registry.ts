import { type AgentInfo, AgentState, type DiskSpace } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import type { HeldExecution } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";

/** An agent as the farm knows it. */
export interface AgentRecord {
  readonly info: AgentInfo;
  readonly state: AgentState;
  /** Heard since this coordinator started. Until then it is given no work, but keeps what it holds. */
  readonly heard: boolean;
  /** Wall time. */
  readonly lastHeartbeatMs: number;
  /** As of its last heartbeat. */
  readonly disk?: DiskSpace | undefined;
}

/** Whether tasks may be planned for it. */
export function isConnected({ state }: AgentRecord): boolean {
  return state !== AgentState.LOST;
}

/** What it offers to the tasks of a pipeline. */
export function offerOf({ info: { labels, tools } }: AgentRecord): ToolOffer {
  return { labels, tools };
}

/** Something that happened to an agent. */
export type AgentChange =
  /** Joined, or came back. */
  | { readonly kind: "joined"; readonly agent: AgentRecord }
  /** It drains or takes work again, or it is there anew and was not heard since. */
  | { readonly kind: "changed"; readonly agent: AgentRecord }
  /** It says what it holds. */
  | { readonly kind: "heartbeat"; readonly agent: AgentRecord; readonly held: readonly HeldExecution[] }
  /** Silent for longer than its lease: what it holds must be placed anew. */
  | { readonly kind: "lost"; readonly agent: AgentRecord }
  /** Left on purpose, holding nothing. */
  | { readonly kind: "left"; readonly agent: AgentRecord }
  /** Somebody had it forgotten: what it holds must be placed anew. */
  | { readonly kind: "removed"; readonly agent: AgentRecord };

/** Which agents there are. Started and stopped by the wiring. */
export interface AgentRegistry {
  /**
   * Records what an agent says of itself; resolves, when that is durable, with how it stands. A start of its process that was
   * not seen before takes over from the one before, which is told. Throws `already_exists`, with who took over, for one
   * from which another has.
   */
  join(info: AgentInfo): Promise<AgentRecord>;
  /**
   * From now on it is given nothing new, or again something; resolves when that is durable. It is said to the agent, which
   * says it back in its heartbeats. Throws `not_found`.
   */
  drain(id: string, draining: boolean): Promise<AgentRecord>;
  /** Forgets it; what it holds must be placed anew. Resolves when that is durable. Throws `not_found`. */
  remove(id: string): Promise<void>;
  list(): readonly AgentRecord[];
  /** Listeners are called in the order of subscription and must not throw. */
  subscribe(listener: (change: AgentChange) => void): () => void;
}

import type {
  Action,
  ActionResult,
  Command,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type {
  HostOperation,
  NamedCaches,
  SourceImport,
  TaskSecrets,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type {
  Confinement,
  DeploymentOutcome,
  Ending,
  ResourceUsage,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Digest } from "../../../shared/digest.ts";

/** One Action to be executed once. */
export interface ExecutionRequest {
  /** Chosen by the caller, so that submitting again after a crash is the same execution: `[A-Za-z0-9_.-]{1,200}`. */
  readonly id: string;
  readonly actionDigest: Digest;
  readonly action: Action;
  readonly command: Command;
  /** Greater goes first. */
  readonly priority: number;
  /** Executions share the farm evenly between groups: the run's name, or a client's invocation. */
  readonly fairGroup: string;
  /** Given to the process, not part of the key. */
  readonly volatileEnvironment: Readonly<Record<string, string>>;
  /** Folders that the agent keeps between its tasks. The declaration is in the Action's salt, too. */
  readonly namedCaches?: NamedCaches;
  /** What its process is given of its project's secrets: names. The declaration is in the Action's salt, too. */
  readonly secrets?: TaskSecrets;
  /**
   * Set for what outlives its task. Such an execution is never given to a second agent, whatever becomes of the first: its
   * platform names the agent (label `agent`), and it waits for that one to come back.
   */
  readonly hostOperation?: HostOperation;
  /**
   * It may have effects that must not happen twice: once an agent may have begun it, it is never placed again. When that
   * agent is lost it waits for its word, or for a person to cancel it.
   */
  readonly atMostOnce?: boolean;
  /** Ids of agents that must not get it, at most `limits.avoidedAgents`. It then shares no execution with others. */
  readonly avoidAgents?: readonly string[];
  /** Placements after agents were lost or the farm failed, the first one included; absent means the farm's own budget. */
  readonly attemptsMax?: number;
  /**
   * Set for the import of a source. Such an execution is of whoever waits for it: it is not kept on disk, and a restart
   * forgets it.
   */
  readonly sourceImport?: SourceImport;
}

/** What became of an execution. */
export interface ExecutionOutcome {
  readonly ending: Ending;
  /** Absent when no process ran to its end. */
  readonly result?: ActionResult;
  readonly usage?: ResourceUsage;
  readonly confinement?: Confinement;
  /** Of a deployment. */
  readonly deployment?: DeploymentOutcome;
  /** Of the attempt that counted. */
  readonly attempt: number;
  /** Empty when it was never placed. */
  readonly agent: string;
}

/** Something a submitter wants to know. For one execution they come in order; `finished` is the last. */
export type ExecutionUpdate =
  | { readonly kind: "waiting"; readonly id: string; readonly cause: WaitCause; readonly detail: string }
  | {
      readonly kind: "started";
      readonly id: string;
      /** Whose process and log it is: another one's id when identical Actions were merged. */
      readonly execution: string;
      readonly attempt: number;
      readonly agent: string;
    }
  | { readonly kind: "finished"; readonly id: string; readonly outcome: ExecutionOutcome };

/** What the scheduler holds at this moment: for views and metrics. */
export interface SchedulerStats {
  readonly queued: number;
  readonly running: number;
  /** Ids of executions by the agent that holds them. */
  readonly heldBy: ReadonlyMap<string, readonly string[]>;
  /** Ids of executions by an agent that has them, or may have them, although they are placed there no more. */
  readonly strays: ReadonlyMap<string, readonly string[]>;
  /** Ids of requests that have ended and were not forgotten; to be read at once, if at all. */
  readonly concluded: Iterable<string>;
}

/**
 * Places executions on agents, one at a time each, and keeps them across restarts until the submitter has the outcome.
 * Requests for the same Action that are in flight together share one execution, unless it must not be cached: it has
 * the greatest of their priorities and ends early only when all of them were cancelled.
 */
export interface Scheduler {
  /**
   * Resolves when the request is durable. Submitting an id again repeats the updates of its present state.
   * Throws `resource_exhausted` when the queue is full.
   */
  submit(request: ExecutionRequest): Promise<void>;
  /**
   * Its end is reported as `finished`; others who share the execution keep it. Unknown or finished ids are ignored, and with
   * `unbegun` what an agent may have.
   */
  cancel(id: string, reason: string, only?: "unbegun"): void;
  /** The submitter has the outcome on disk: the farm may forget the request. */
  forget(id: string): Promise<void>;
  /** Listeners are called in the order of subscription and must not throw. */
  subscribe(listener: (update: ExecutionUpdate) => void): () => void;
  stats(): SchedulerStats;
}

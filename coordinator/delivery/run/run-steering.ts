import type { Asker } from "./runs.ts";

/** What is to be executed once more, and how. */
export interface Retry {
  /** As `stage/task`, or `task` where that is unique; empty: all that failed or were cancelled. */
  readonly tasks: readonly string[];
  /** Ids of agents that must not get them. */
  readonly avoidAgents: readonly string[];
  /** None of them goes to the agent that had it last. */
  readonly avoidLastAgent: boolean;
  /** They are executed even if the cache has a result. */
  readonly bypassCache: boolean;
}

/** What became of the tasks that were to be skipped; in the order of the plan, as `stage/task`. */
export interface Skipped {
  readonly tasks: readonly string[];
  /** Variants that agents have. */
  readonly running: readonly string[];
}

/**
 * What people want of a run while it goes on, or afterwards. Each call resolves when that is recorded. May be called
 * concurrently. All throw `not_found`, `invalid_argument` and `failed_precondition`, with the reason.
 */
export interface RunSteering {
  /** Resolves with all tasks that are open again, in the order of the plan. A run that had finished goes on. */
  retry(asker: Asker, run: string, wanted: Retry): Promise<readonly string[]>;
  /** To pause again changes nothing. */
  pause(asker: Asker, run: string, reason: string): Promise<void>;
  /** Of a run that is not paused, nothing changes. */
  resume(asker: Asker, run: string): Promise<void>;
  /** Leaves out a task, or variants, that no agent has. Throws `permission_denied` for a gate, unless the asker may skip gates. */
  skip(asker: Asker, run: string, what: { readonly task: string; readonly reason: string }): Promise<Skipped>;
  /** At any time. `task` is empty for the run as a whole. Throws `resource_exhausted` when it has too many. */
  comment(asker: Asker, run: string, what: { readonly task: string; readonly text: string }): Promise<void>;
}

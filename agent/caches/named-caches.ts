import type { NamedCaches as Declaration } from "../../proto/gen/millrace/v1/dispatch_pb.ts";

/** A cache as one task has it, from before its inputs are laid out until they were removed. */
export interface HeldCache {
  /** Where the task finds it, relative to its input root. */
  readonly path: string;
  /** A folder that has the content at `path`, and nothing else; nobody may write to it. Undefined while the cache is empty. */
  readonly layer: string | undefined;
  /** Nothing reads the layer any more. */
  release(): void;
}

/** What a process left of its input root. */
export interface LeftRoot {
  /** The root, for reading. */
  readonly path: string;
  /** Holds what the process wrote, at the same paths, when that is apart from what it was given. */
  readonly written?: string;
}

/** Shows what a process left until it is closed. */
export interface Lookable {
  look(): Promise<LeftRoot & { close(): Promise<void> }>;
}

/** What an eviction needs to know of a cache. */
export interface IdleCache {
  readonly id: string;
  readonly bytes: number;
  readonly lastUseMs: number;
}

/**
 * Folders that stay between tasks, by project, name, path and tools. Each is a version that is never written to: a task
 * sees it below a layer of its own, and one that succeeds leaves a new version in its place.
 *
 * First `hold`, then at most one `keep`, then `release` each. Safe for concurrent calls, also for the same cache: all
 * begin with the version of their start, and the last one that succeeds says what is kept.
 */
export interface NamedCaches {
  /**
   * Finds the versions that a task begins with. A damaged one is dropped and said; the task then begins with an empty one.
   * @param tools what else tells caches apart, such as `tool:node=24.1.0@…`; in any order
   */
  hold(declaration: Declaration, tools: readonly string[]): Promise<readonly HeldCache[]>;
  /**
   * Makes what a successful task left the new versions. Never throws: what cannot be kept stays as it was, and is said.
   * @param held from `hold` and not released yet
   * @param root where the task ran
   */
  keep(held: readonly HeldCache[], root: Lookable): Promise<void>;
  /** Waits for removals that are under way. */
  close(): Promise<void>;
}

/** The same caches as they count into what the agent stores. */
export interface EvictableCaches {
  /** Those that no task holds. */
  idle(): Iterable<IdleCache>;
  /** Of all caches together. */
  bytes(): number;
  /** Forgets caches and removes their folders; those that a task holds stay. */
  evict(ids: readonly string[]): Promise<void>;
}

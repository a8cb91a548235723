import type { ActionResult } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../../../shared/digest.ts";

/** A result with all that it needs. */
export interface ActionCacheEntry {
  readonly result: ActionResult;
  /** Every blob that the result names, trees and their files included: computed once, when written. */
  readonly closure: readonly Digest[];
  /** Who wrote it: `agent:<id>` when the farm executed it, `token:<name>` when a client uploaded it. */
  readonly writer: string;
}

/** Results of Actions by the Action's digest. Only of exit code 0; what may be cached is the caller's decision. */
export interface ActionCache {
  /** Undefined is a miss. */
  get(action: Digest, signal?: AbortSignal): Promise<ActionCacheEntry | undefined>;
  /** Replaces an older entry. Resolves when durable. */
  put(action: Digest, entry: ActionCacheEntry, signal?: AbortSignal): Promise<void>;
}

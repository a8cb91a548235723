import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { limits } from "../../shared/limits.ts";
import type { Conclusion, LaidOutTask } from "../executor/executor.ts";

/** What failed tasks of runs left, for a while: so that somebody can look at it. */
export interface KeptTrees {
  /** Takes over the root of a task that has failed. False when it is not for keeping: then it stays the caller's. */
  keep(task: LaidOutTask, done: Conclusion): boolean;
  /** Gives the last attempt of an execution to whoever removes its root; undefined when there is none. */
  take(executionId: string): LaidOutTask | undefined;
  /** Removes all that is kept, and keeps nothing any more. */
  close(): void;
}

export interface KeptTreesOptions {
  readonly clock: Clock;
  /** Whether the disk has room for what nobody may ever look at. */
  readonly hasRoom: () => boolean;
}

/** At most `limits.keptTrees` of them, each for `limits.keptTreeMs` at most. */
export function keptTrees({ clock, hasRoom }: KeptTreesOptions): KeptTrees {
  /** The oldest first. */
  const kept = new Map<string, { readonly task: LaidOutTask; cancelTimer(): void }>();
  let isClosed = false;

  function take(executionId: string): LaidOutTask | undefined {
    const entry = kept.get(executionId);
    kept.delete(executionId);
    entry?.cancelTimer();
    return entry?.task;
  }

  function remove(executionId: string): void {
    take(executionId)?.root.remove();
  }

  return {
    keep(task, done) {
      if (isClosed || !isForKeeping(task, done)) return false;
      remove(task.executionId);
      if (!hasRoom()) return false;
      const [oldest] = kept.keys();
      if (oldest !== undefined && kept.size >= limits.keptTrees) remove(oldest);
      const cancelTimer = clock.after(limits.keptTreeMs, () => remove(task.executionId));
      kept.set(task.executionId, { task, cancelTimer });
      return true;
    },
    take,
    close() {
      isClosed = true;
      for (const executionId of [...kept.keys()]) remove(executionId);
    },
  };
}

/**
 * Foreign clients cannot ask for a shell; what was cancelled, or failed by the farm, is tried again. What had secrets
 * may have written them down, and a shell masks nothing.
 */
function isForKeeping(
  { volatileEnvironment, secrets, masking }: LaidOutTask,
  { ending: { kind, exitCode } }: Conclusion,
) {
  if (volatileEnvironment.MILLRACE_RUN === undefined || secrets !== undefined) return false;
  if (masking?.now().isEmpty === false) return false;
  const ended: readonly EndingKind[] = [EndingKind.SIGNALLED, EndingKind.TIMED_OUT, EndingKind.OUT_OF_MEMORY];
  return ended.includes(kind) || (kind === EndingKind.EXITED && exitCode !== 0);
}

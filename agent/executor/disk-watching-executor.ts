import { create } from "@bufbuild/protobuf";
import { EndingKind, EndingSchema, FailureScope } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { type DiskSpace, describeFullDisk, diskSpace, type StorageOwner } from "../../shared/disk-space.ts";
import { limits } from "../../shared/limits.ts";
import { diskWatch } from "./disk-watch.ts";
import { type Conclusion, type Executor, Stopped } from "./executor.ts";

export interface DiskWatchingOptions {
  /** The disk that tasks write to. */
  readonly own: StorageOwner;
  readonly clock: Clock;
  /** How it stands now; another one for tests. */
  readonly space?: (folder: string) => DiskSpace;
}

/**
 * Tells a task that failed for want of disk from one that failed by itself: a process only says that it could not write.
 * The disk is looked at from the start of the task to its end, when what a failed process wrote is still there, and the
 * more often the less room it has. What this does not see, and leaves to the task: a disk that is filled and freed again
 * within a few milliseconds and not by steady writing, and a request for more than there is room that takes none of it
 * (`fallocate` on some file systems). A disk that stays full while the task goes on ends it, for what fills it would
 * stand in the way of everybody, the coordinator on the same disk included. A task that succeeds in spite of it is believed.
 */
export function diskWatchingExecutor<Task>(base: Executor<Task>, options: DiskWatchingOptions): Executor<Task> {
  const { own, clock, space = diskSpace } = options;
  const watch = diskWatch({ clock, space: () => space(own.folder) });
  return {
    async execute(task, stop) {
      const overfull = new AbortController();
      let fullSinceMs: number | undefined;
      let worst: DiskSpace | undefined;

      const watching = watch.begin(({ atMs, isFull, full }) => {
        if (full !== undefined && (worst === undefined || full.freeBytes <= worst.freeBytes)) worst = full;
        fullSinceMs = isFull ? (fullSinceMs ?? atMs) : undefined;
        if (fullSinceMs !== undefined && atMs - fullSinceMs >= limits.diskFullMs)
          overfull.abort(new Stopped(EndingKind.INFRASTRUCTURE, "the disk is full", limits.killGraceMs));
      });
      try {
        watching.look();
        const done = await base.execute(task, AbortSignal.any([stop, overfull.signal]));
        watching.look();
        if (worst === undefined || stop.aborted || !(overfull.signal.aborted || hasFailed(done))) return done;
        const { kind, exitCode, signal } = done.ending;
        const how =
          kind === EndingKind.EXITED
            ? `exited with ${exitCode}`
            : signal === ""
              ? "was ended"
              : `was ended by ${signal}`;
        done.ending = create(EndingSchema, {
          kind: EndingKind.INFRASTRUCTURE,
          detail: `it ${how}: ${describeFullDisk(own.owner, worst)}`,
          scope: FailureScope.AGENT,
        });
        return done;
      } finally {
        watching.end();
      }
    },
  };
}

/** In a way that a failed write can lead to. */
function hasFailed({ ending: { kind, exitCode } }: Conclusion): boolean {
  return kind === EndingKind.SIGNALLED || (kind === EndingKind.EXITED && exitCode !== 0);
}

import { create } from "@bufbuild/protobuf";
import { EndingKind, EndingSchema, FailureScope } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { type DiskSpace, describeFullDisk, diskSpace, type StorageOwner } from "../../shared/disk-space.ts";
import { limits } from "../../shared/limits.ts";
import { type Conclusion, type Executor, Stopped } from "./executor.ts";

export interface DiskWatchOptions {
  /** The disk that tasks write to. */
  readonly own: StorageOwner;
  readonly clock: Clock;
  /** How it stands now; another one for tests. */
  readonly space?: (folder: string) => DiskSpace;
}

/**
 * Tells a task that failed for want of disk from one that failed by itself: a process only says that it could not write.
 * It looks at the start, while the task runs, and at the end, when what a failed process wrote is still there. A disk
 * that stays full while the task goes on ends it, for what fills it would stand in the way of everybody, the
 * coordinator on the same disk included. A task that succeeds in spite of it is believed.
 */
export function diskWatchingExecutor<Task>(base: Executor<Task>, options: DiskWatchOptions): Executor<Task> {
  const { own, clock, space = diskSpace } = options;
  return {
    async execute(task, stop) {
      const overfull = new AbortController();
      let fullSinceMs: number | undefined;
      let worst: DiskSpace | undefined;
      let cancelLook = (): void => {};

      function look(): void {
        const now = space(own.folder);
        const isFull = now.freeBytes < limits.diskFullBytes;
        fullSinceMs = isFull ? (fullSinceMs ?? clock.monotonicMs()) : undefined;
        if (isFull && (worst === undefined || now.freeBytes <= worst.freeBytes)) worst = now;
      }

      function watch(): void {
        look();
        if (fullSinceMs !== undefined && clock.monotonicMs() - fullSinceMs >= limits.diskFullMs) {
          overfull.abort(new Stopped(EndingKind.INFRASTRUCTURE, "the disk is full", limits.killGraceMs));
        } else cancelLook = clock.after(limits.diskCheckMs, watch);
      }

      watch();
      try {
        const done = await base.execute(task, AbortSignal.any([stop, overfull.signal]));
        look();
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
        cancelLook();
      }
    },
  };
}

/** In a way that a failed write can lead to. */
function hasFailed({ ending: { kind, exitCode } }: Conclusion): boolean {
  return kind === EndingKind.SIGNALLED || (kind === EndingKind.EXITED && exitCode !== 0);
}

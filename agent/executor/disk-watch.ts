import type { Clock } from "../../shared/clock.ts";
import type { DiskSpace } from "../../shared/disk-space.ts";
import { limits } from "../../shared/limits.ts";

/** How a disk stood at one moment. */
export interface DiskLook {
  /** Monotonic. */
  readonly atMs: number;
  readonly space: DiskSpace;
}

/** What a watcher of a disk is told of each look. */
export interface DiskNews extends DiskLook {
  readonly isFull: boolean;
  /** How it stood when it was full, or at the last look before it must have been; undefined when it had room since the watcher began. */
  readonly full: DiskSpace | undefined;
}

/** Looks at one disk as long as somebody watches it, once for all who do. */
export interface DiskWatch {
  /** Tells of every look from now on; the first one is for the caller to take. */
  begin(onLook: (news: DiskNews) => void): DiskWatching;
}

export interface DiskWatching {
  /** Looks now, and from then on by itself. */
  look(): void;
  end(): void;
}

export interface DiskWatchOptions {
  readonly clock: Clock;
  /** How it stands now. */
  readonly space: () => DiskSpace;
}

/** A look costs some 10 µs, its timer some 100: the next one comes when the disk could be full by then, and not sooner. */
export function diskWatch({ clock, space }: DiskWatchOptions): DiskWatch {
  const watchers = new Set<{ readonly sinceMs: number; readonly onLook: (news: DiskNews) => void }>();
  let looks: readonly DiskLook[] = [];
  let cancelNext = (): void => {};

  function look(): void {
    cancelNext();
    const now = { atMs: clock.monotonicMs(), space: space() };
    const [before, last] = looks.slice(-2);
    const isFull = now.space.freeBytes < limits.diskFullBytes;
    const wasFull = before !== undefined && last !== undefined && wasFilled(before, last, now);
    looks = [...looks.slice(-1), now];
    cancelNext = clock.after(pauseMs(now.space), look);
    for (const { sinceMs, onLook } of watchers) {
      const full = isFull ? now.space : wasFull && last.atMs >= sinceMs ? last.space : undefined;
      onLook({ ...now, isFull, full });
    }
  }

  return {
    begin(onLook) {
      const watcher = { sinceMs: clock.monotonicMs(), onLook };
      watchers.add(watcher);
      return {
        look,
        end() {
          watchers.delete(watcher);
          if (watchers.size > 0) return;
          cancelNext();
          looks = [];
        },
      };
    },
  };
}

/** Until the next look. */
function pauseMs({ freeBytes }: DiskSpace): number {
  const fillMs = (freeBytes / limits.diskFillBytesPerSecond) * 1000;
  return Math.min(limits.diskCheckMs, Math.max(limits.diskCheckMsMin, fillMs));
}

/**
 * Whether a disk was full for a moment that no look has met: it was being filled so fast that this had to end before it
 * has more room again. A task that removes its temporary file as it fails leaves no more to see.
 */
function wasFilled(before: DiskLook, last: DiskLook, now: DiskLook): boolean {
  const lostBytes = before.space.freeBytes - last.space.freeBytes;
  if (lostBytes <= 0 || now.space.freeBytes <= last.space.freeBytes) return false;
  const lostBytesPerMs = lostBytes / Math.max(1, last.atMs - before.atMs);
  return last.space.freeBytes <= lostBytesPerMs * (now.atMs - last.atMs);
}

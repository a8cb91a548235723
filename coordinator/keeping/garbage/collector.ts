import type { Clock } from "../../../shared/clock.ts";
import { from } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { Turns } from "../../../shared/turns.ts";
import type { Collection, CollectOptions } from "./collect.ts";

export interface CollectorDeps {
  readonly clock: Clock;
  /** In which all that the keeper does takes place. */
  readonly turns: Turns;
  /** One round. */
  readonly collect: (options: CollectOptions) => Promise<Collection>;
  /** Bytes that must go from the store, at this moment. */
  readonly excessBytes: () => number;
  readonly onError: (error: unknown) => void;
}

/** Says when garbage is collected: now and then, when the store gets full, and when somebody asks. */
export interface Collector extends Component {
  collect(dryRun: boolean): Promise<Collection>;
  /** Looks whether the store gets full, and collects in the background when it does. Cheap. */
  check(): void;
  /** Collects for a writer that has no room for so many bytes. Does nothing shortly after a round: it would be in vain. */
  makeRoom(bytes: number): Promise<void>;
}

export function collector({ clock, turns, collect, excessBytes, onError }: CollectorDeps): Collector {
  const stopped = new AbortController();
  const { signal } = stopped;
  let cancelTimer = (): void => undefined;
  /** For want of room; under way, or just over. */
  let relief: Promise<void> | undefined;
  /** By those who wait for it to begin. */
  let wanted = 0;
  let reliefOverMs = Number.NEGATIVE_INFINITY;

  const round = (dryRun: boolean, wantedBytes = () => 0): Promise<Collection> =>
    turns.take(() => {
      signal.throwIfAborted();
      return collect({ dryRun, wantedBytes: wantedBytes(), signal });
    });

  function collectLater(delayMs: number): void {
    cancelTimer = clock.after(delayMs, () => {
      round(false)
        .catch(complain)
        .finally(() => {
          if (!signal.aborted) collectLater(limits.collectIntervalMs);
        });
    });
  }

  function complain(error: unknown): void {
    if (!signal.aborted) onError(from(error, "collecting garbage"));
  }

  function relieve(bytes: number): Promise<void> {
    wanted = Math.max(wanted, bytes);
    const take = (): number => {
      const bytesWanted = wanted;
      wanted = 0;
      return bytesWanted;
    };
    relief ??= round(false, take)
      .then(() => undefined)
      .finally(() => {
        relief = undefined;
        reliefOverMs = clock.monotonicMs();
      });
    return relief;
  }

  const mayRelieve = (): boolean => relief !== undefined || clock.monotonicMs() - reliefOverMs >= limits.collectPauseMs;

  return {
    name: "garbage collector",
    async start() {
      collectLater(limits.collectFirstMs);
    },
    async stop() {
      stopped.abort();
      cancelTimer();
      await turns.take(async () => undefined); // what is under way ends at its next step
    },
    collect: (dryRun) => round(dryRun),
    check() {
      if (signal.aborted || relief !== undefined || !mayRelieve() || excessBytes() <= 0) return;
      relieve(0).catch(complain);
    },
    async makeRoom(bytes) {
      if (signal.aborted || !mayRelieve()) return;
      const waited = Promise.withResolvers<void>();
      const cancel = clock.after(limits.casRoomWaitMs, waited.resolve);
      await Promise.race([relieve(bytes).catch(complain), waited.promise]);
      cancel();
    },
  };
}

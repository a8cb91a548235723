/**
 * Wakes those who wait for something to change. To miss nothing, take the `version` *before* looking at the state and
 * wait for a change after that version: what changed in between ends the wait at once.
 */
export interface Changes {
  /** Counts the announcements. */
  version(): number;
  announce(): void;
  /** Resolves once there were announcements after `version`, or when the signal aborts; never rejects. */
  after(version: number, signal: AbortSignal): Promise<void>;
  /** How many wait now. */
  waiting(): number;
}

export function changes(): Changes {
  let version = 0;
  let waiters = new Set<() => void>();
  return {
    version: () => version,
    announce() {
      version += 1;
      const woken = waiters;
      waiters = new Set();
      for (const wake of woken) wake();
    },
    after(seen, signal) {
      if (version !== seen || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const wake = () => {
          waiters.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        };
        waiters.add(wake);
        signal.addEventListener("abort", wake);
      });
    },
    waiting: () => waiters.size,
  };
}

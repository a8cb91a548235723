/** Whether a bus is up, and who wants to know. */
export interface ConnectionState {
  isUp(): boolean;
  /** Tells the listeners when it differs from before. */
  set(up: boolean): void;
  /** Told at once, then at each change, until the function it gives is called. */
  watch(listener: (up: boolean) => void): () => void;
}

export function connectionState(up: boolean): ConnectionState {
  let present = up;
  const listeners = new Set<(up: boolean) => void>();
  return {
    isUp: () => present,
    set(next) {
      if (next === present) return;
      present = next;
      for (const listener of [...listeners]) listener(next);
    },
    watch(listener) {
      const own = (next: boolean) => listener(next); // the same listener may watch twice
      listeners.add(own);
      listener(present);
      return () => listeners.delete(own);
    },
  };
}

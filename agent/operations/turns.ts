/** Lets things with the same key happen one after another, in the order in which they asked. */
export interface Turns {
  take<T>(key: string, work: () => Promise<T>): Promise<T>;
}

export function turns(): Turns {
  /** The end of each line; bounded by the agent's slots. */
  const lines = new Map<string, Promise<unknown>>();
  return {
    async take(key, work) {
      const before = lines.get(key) ?? Promise.resolve();
      const mine = before.then(work, work);
      lines.set(key, mine);
      try {
        return await mine;
      } finally {
        if (lines.get(key) === mine) lines.delete(key);
      }
    },
  };
}

/**
 * Brings things to disk, each as soon as possible and no more than needed: while a thing waits for its turn, everything
 * written to it shares the one sync to come. So the busier the disk, the more writes a sync carries.
 */
export interface SyncQueue<T> {
  /** Resolves when a sync that began after this call has ended; rejects when that sync failed. */
  request(thing: T): Promise<void>;
}

export function syncQueue<T>(
  sync: (thing: T) => Promise<void>,
  { concurrency }: { concurrency: number },
): SyncQueue<T> {
  const waiting = new Map<T, PromiseWithResolvers<void>>();
  let running = 0;

  async function run(): Promise<void> {
    running += 1;
    for (let next = take(); next !== undefined; next = take()) {
      const [thing, done] = next;
      await sync(thing).then(done.resolve, done.reject);
    }
    running -= 1;
  }

  function take(): [T, PromiseWithResolvers<void>] | undefined {
    const [first] = waiting;
    if (first !== undefined) waiting.delete(first[0]);
    return first;
  }

  return {
    request(thing) {
      let done = waiting.get(thing);
      if (done === undefined) {
        done = Promise.withResolvers();
        waiting.set(thing, done);
        if (running < concurrency) void run();
      }
      return done.promise;
    },
  };
}

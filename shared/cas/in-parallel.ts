import { limits } from "../limits.ts";

/**
 * Works on items, at most `limits.transfersInFlight` at a time and in order of their start. The first failure aborts the
 * others' signal and is thrown when all have ended, so nothing goes on behind the caller's back.
 */
export async function inParallel<Item>(
  items: Iterable<Item> | AsyncIterable<Item>,
  work: (item: Item, signal: AbortSignal) => Promise<void>,
  outer?: AbortSignal,
): Promise<void> {
  const failed = new AbortController();
  const signal = outer === undefined ? failed.signal : AbortSignal.any([failed.signal, outer]);
  const running = new Set<Promise<void>>();
  try {
    for await (const item of items) {
      signal.throwIfAborted();
      const job = work(item, signal)
        .catch((error: unknown) => failed.abort(error))
        .finally(() => running.delete(job));
      running.add(job);
      if (running.size >= limits.transfersInFlight) await Promise.race(running);
    }
  } catch (error) {
    failed.abort(error);
  }
  await Promise.all(running);
  signal.throwIfAborted();
}

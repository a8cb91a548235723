/**
 * Many streams as one, in the order in which their values come. Streams may join while it runs: they come as a stream
 * themselves. Each is asked for its next value only when its last one was taken, so a slow reader holds one value of
 * each and no more. The first error ends all; leaving early ends every stream.
 */
export async function* merge<T>(streams: AsyncIterable<AsyncIterable<T>>): AsyncGenerator<T> {
  type Arrival = () => T | typeof nothing;
  const nothing = Symbol("no value");
  const arrivals: Arrival[] = [];
  const open = new Set<AsyncIterator<unknown>>();
  let wake = (): void => {};

  function arrive(arrival: Arrival): void {
    arrivals.push(arrival);
    wake();
  }

  /** Asks a stream for one value; what comes of it happens when the reader gets to it. */
  function pull<V>(iterator: AsyncIterator<V>, take: (value: V) => T | typeof nothing): void {
    iterator.next().then(
      (result) =>
        arrive(() => {
          if (result.done === true) {
            open.delete(iterator);
            return nothing;
          }
          const taken = take(result.value);
          pull(iterator, take);
          return taken;
        }),
      (error: unknown) =>
        arrive(() => {
          open.delete(iterator);
          throw error;
        }),
    );
  }

  function join<V>(stream: AsyncIterable<V>, take: (value: V) => T | typeof nothing): void {
    const iterator = stream[Symbol.asyncIterator]();
    open.add(iterator);
    pull(iterator, take);
  }

  join(streams, (stream) => {
    join(stream, (value) => value);
    return nothing;
  });
  try {
    while (open.size > 0) {
      const arrival = arrivals.shift();
      if (arrival === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const value = arrival();
      if (value !== nothing) yield value;
    }
  } finally {
    // Not awaited: a stream that waits for its next value ends only when its owner's signal aborts. The reader has what
    // it came for, so nobody is left to hear how the rest ended.
    for (const iterator of open) iterator.return?.().catch(() => undefined);
  }
}

/**
 * Many streams as one, in the order in which their values come. Streams may join while it runs: they come as a stream
 * themselves. Each is asked for its next value only when its last one was taken, so a slow reader holds one value of
 * each and no more. At most `limit` are open at a time: the next one joins when another has ended. The first error ends
 * all; leaving early ends every stream.
 */
export async function* merge<T>(streams: AsyncIterable<AsyncIterable<T>>, limit: number): AsyncGenerator<T> {
  const source = streams[Symbol.asyncIterator]();
  const open = new Set<AsyncIterator<T>>();
  /** What has come and was not taken yet; run when the reader gets to it. */
  const arrivals: (() => { readonly value?: T })[] = [];
  let isAsked = false;
  let isOver = false;
  let wake = (): void => {};

  function ask<V>(iterator: AsyncIterator<V>, take: (result: IteratorResult<V>) => { value?: T }): void {
    const arrive = (arrival: () => { value?: T }): void => {
      arrivals.push(arrival);
      wake();
    };
    iterator.next().then(
      (result) => arrive(() => take(result)),
      (error: unknown) =>
        arrive(() => {
          throw error;
        }),
    );
  }

  function askSource(): void {
    if (isAsked || isOver || open.size >= limit) return;
    isAsked = true;
    ask(source, (result) => {
      isAsked = false;
      isOver = result.done === true;
      if (result.done !== true) askStream(result.value[Symbol.asyncIterator]());
      askSource();
      return {};
    });
  }

  function askStream(iterator: AsyncIterator<T>): void {
    open.add(iterator);
    ask(iterator, (result) => {
      if (result.done !== true) {
        askStream(iterator);
        return { value: result.value };
      }
      open.delete(iterator);
      askSource();
      return {};
    });
  }

  askSource();
  try {
    while (open.size > 0 || !isOver) {
      const arrival = arrivals.shift();
      if (arrival === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      const taken = arrival();
      if ("value" in taken) yield taken.value;
    }
  } finally {
    // Not awaited: a stream that waits for its next value ends only when its owner's signal aborts. The reader has what
    // it came for, so nobody is left to hear how the rest ended.
    for (const iterator of [source, ...open]) iterator.return?.().catch(() => undefined);
  }
}

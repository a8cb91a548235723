/**
 * Does the work for each item as it comes, for up to `ahead` of them at a time, and gives the results in the order of the
 * items. So what is slow about one piece of work (a disk) is shared by those that came meanwhile. Work begins in order.
 * Ends with the items; throws the first error of an item or of work, and begins no work after it.
 */
export async function* inOrder<T, R>(
  items: AsyncIterable<T>,
  work: (item: T) => Promise<R>,
  { ahead }: { readonly ahead: number },
): AsyncGenerator<R> {
  const iterator = items[Symbol.asyncIterator]();
  const begun: Promise<R>[] = [];
  let coming: Promise<IteratorResult<T>> | undefined = heard(iterator.next());
  try {
    for (;;) {
      const [first] = begun;
      if (coming !== undefined && begun.length < ahead) {
        // What has come already goes before the result: it may share the work that is waited for.
        const next: IteratorResult<T> | undefined =
          first === undefined ? await coming : await Promise.race([coming, first.then(() => undefined)]);
        if (next !== undefined) {
          if (next.done !== true) begun.push(heard(work(next.value)));
          coming = next.done === true ? undefined : heard(iterator.next());
          continue;
        }
      }
      if (first === undefined) return;
      void begun.shift();
      yield await first;
    }
  } finally {
    // Not waited for: a source that was asked for its next item may take as long as its sender likes.
    if (coming !== undefined) void heard(Promise.resolve(iterator.return?.()));
  }
}

/** Its failure is met where it is awaited, which may be never: then it has nothing to say. */
function heard<P>(promise: Promise<P>): Promise<P> {
  promise.catch(() => undefined);
  return promise;
}

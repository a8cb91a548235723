/** The first message of a stream, and the stream as if nobody had looked; undefined for a stream without one. */
export async function firstMessage(
  messages: AsyncIterable<unknown>,
): Promise<{ readonly first: unknown; readonly all: AsyncIterable<unknown> }> {
  const source = messages[Symbol.asyncIterator]();
  const head = await source.next();
  let isUnread = true;
  const all: AsyncIterator<unknown> = {
    next() {
      if (!isUnread) return source.next();
      isUnread = false;
      return Promise.resolve(head);
    },
    // Who leaves early, leaves the source.
    return: async () => (await source.return?.()) ?? { done: true, value: undefined },
  };
  return { first: head.done === true ? undefined : head.value, all: { [Symbol.asyncIterator]: () => all } };
}

/** The stream, which fails at the first message for which `check` throws. */
export function checkedMessages(messages: AsyncIterable<unknown>, check: () => unknown): AsyncIterable<unknown> {
  const source = messages[Symbol.asyncIterator]();
  const checked: AsyncIterator<unknown> = {
    async next() {
      const result = await source.next();
      check();
      return result;
    },
    // Who leaves early, leaves the source.
    return: async () => (await source.return?.()) ?? { done: true, value: undefined },
  };
  return { [Symbol.asyncIterator]: () => checked };
}

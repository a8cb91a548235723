/** Values from one who makes them to one who takes them. Read by one reader, once. */
export interface Channel<T> extends AsyncIterable<T> {
  /** Resolves when there is room for the next. What comes after the end is dropped: nobody reads it. */
  put(value: T): Promise<void>;
  /** The reader gets what was put before, then the end, or this error. Only the first call counts. */
  end(error?: Error): void;
}

/** @param capacity values that may wait for the reader before `put` waits */
export function channel<T>(capacity: number): Channel<T> {
  const values: T[] = [];
  const writers = new Set<() => void>();
  let wakeReader = (): void => {};
  let over: { readonly error?: Error } | undefined;

  function wakeWriters(): void {
    for (const wake of writers) wake();
    writers.clear();
  }

  return {
    async put(value) {
      if (over !== undefined) return;
      values.push(value);
      wakeReader();
      while (over === undefined && values.length > capacity) {
        await new Promise<void>((resolve) => void writers.add(resolve));
      }
    },
    end(error) {
      over ??= error === undefined ? {} : { error };
      wakeReader();
      wakeWriters();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const value = values.shift();
        if (value !== undefined) {
          wakeWriters();
          yield value;
        } else if (over !== undefined) {
          if (over.error !== undefined) throw over.error;
          return;
        } else {
          await new Promise<void>((resolve) => {
            wakeReader = resolve;
          });
        }
      }
    },
  };
}

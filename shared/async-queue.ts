import { MillraceError } from "./errors.ts";

/** Turns callbacks into a stream: one side pushes whenever it likes, the other iterates. */
export interface AsyncQueue<T> extends AsyncIterableIterator<T, undefined> {
  /**
   * Adds a value; false when the queue has ended and the value was dropped. A value too many ends the queue with
   * `resource_exhausted`, which the consumer sees after what it has not read yet.
   */
  push(value: T): boolean;
  /** Ends the stream after what was pushed. */
  end(): void;
  /** Ends the stream with an error after what was pushed. */
  fail(error: Error): void;
  /** The consumer leaves: what it has not read is dropped. `break` in a `for await` calls it. */
  return(): Promise<IteratorReturnResult<undefined>>;
}

export interface AsyncQueueOptions {
  /** Values that may wait for the consumer. */
  readonly limit: number;
  /** Called once, when the consumer leaves or the queue ends in any other way: the time to stop the producer. */
  readonly onEnd?: () => void;
}

/** For one consumer. `limit` is the whole memory of it: a consumer that is too slow is told so, rather than the heap. */
export function asyncQueue<T>({ limit, onEnd }: AsyncQueueOptions): AsyncQueue<T> {
  type Result = IteratorResult<T, undefined>;
  const values = backlog<T>();
  const consumers: PromiseWithResolvers<Result>[] = [];
  let ended = false;
  let failure: Error | undefined;

  function end(error?: Error): void {
    if (ended) return;
    ended = true;
    // A consumer waits only when no value does, so it has read everything.
    const first = consumers.shift();
    if (error !== undefined && first !== undefined) first.reject(error);
    else {
      failure = error;
      first?.resolve({ done: true, value: undefined });
    }
    for (const consumer of consumers.splice(0)) consumer.resolve({ done: true, value: undefined });
    onEnd?.();
  }

  return {
    push(value) {
      if (ended) return false;
      const consumer = consumers.shift();
      if (consumer !== undefined) consumer.resolve({ done: false, value });
      else if (values.size() < limit) values.push(value);
      else {
        end(
          new MillraceError(
            "resource_exhausted",
            `the reader fell ${limit} messages behind; read again from where it is`,
          ),
        );
        return false;
      }
      return true;
    },
    end: () => end(),
    fail: end,
    next() {
      if (values.size() > 0) return Promise.resolve({ done: false, value: values.take() });
      if (failure !== undefined) {
        const error = failure;
        failure = undefined;
        return Promise.reject(error);
      }
      if (ended) return Promise.resolve({ done: true, value: undefined });
      const consumer = Promise.withResolvers<Result>();
      consumers.push(consumer);
      return consumer.promise;
    },
    async return() {
      values.clear();
      failure = undefined;
      end();
      return { done: true, value: undefined };
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

/** First in, first out, at constant cost: an array's own `shift` moves all that is behind. */
function backlog<T>() {
  let inbox: T[] = [];
  let outbox: T[] = []; // reversed
  return {
    size: () => inbox.length + outbox.length,
    push: (value: T) => void inbox.push(value),
    /** The oldest. Only when there is one. */
    take(): T {
      if (outbox.length === 0) [outbox, inbox] = [inbox.reverse(), outbox];
      return outbox.pop() as T;
    },
    clear() {
      inbox = [];
      outbox = [];
    },
  };
}

/** A message as its receiver sees it. */
export interface BusMessage {
  readonly subject: string;
  /** The receiver's own copy. */
  readonly data: Uint8Array;
  /** Answers a request; does nothing when the sender asked for no answer. */
  reply(data: Uint8Array): void;
}

export interface RequestOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/**
 * Small messages by subject, delivered at most once, in order for one sender and one subject. Payloads are bounded by
 * `limits.busMessageBytes` (`invalid_argument` beyond). Subjects are listed in subjects.ts; `*` in a subscription
 * stands for one token, `>` at its end for one or more.
 *
 * Handlers run one message at a time per subscription and must not throw or block; a thrown error is a defect and is
 * reported to the bus's `onError`. Whoever made the bus closes it.
 */
export interface Bus {
  /** Best effort: lost when the bus is down, never an error. */
  publish(subject: string, data: Uint8Array): void;
  /** Throws `unavailable` when nobody listens or the bus is down, `deadline_exceeded` after the time-out. */
  request(subject: string, data: Uint8Array, options: RequestOptions): Promise<Uint8Array>;
  /**
   * Resolves when the subscription is in force; the function it gives ends it. It outlives a bus that goes down and
   * comes back. Throws `unavailable` when the bus is down at the time.
   */
  subscribe(subject: string, handler: (message: BusMessage) => void): Promise<() => void>;
  /** Told at once whether the bus is up, then at each change. */
  watchConnection(listener: (up: boolean) => void): () => void;
  /** Ends all subscriptions and the connection; waiting requests end with `unavailable`. */
  close(): Promise<void>;
}

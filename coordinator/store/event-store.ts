import type { Commit } from "../../proto/gen/millrace/v1/event_pb.ts";

/** Says which state of a stream a decision was made on. Opaque; from `read` or `append`. */
export type StreamToken = string & { readonly brand: "StreamToken" };

/** The token of a stream that holds nothing. */
export const emptyStream = "" as StreamToken;

/**
 * A commit with its place in the log. It is decoded when somebody asks for it: one that cannot be decoded stops nobody but
 * those who need it.
 */
export interface StoredCommit {
  readonly stream: string;
  /** Orders all commits of all streams; grows, with holes. */
  readonly position: number;
  /** 1 for the stream's first event; the commit's further events follow without holes. */
  readonly firstSequence: number;
  /** That of its last event. */
  readonly lastSequence: number;
  /** Throws `data_loss` when it cannot be decoded any more. */
  readonly commit: Commit;
}

/**
 * The log of everything that happened. One append is one record, so it is atomic on every adapter.
 * Methods may be called concurrently. Whoever opened the store closes it.
 */
export interface EventStore {
  /**
   * Appends and resolves when durable. Throws `aborted` when the stream is not in the state that `expected` names: the
   * caller reads again and decides anew.
   */
  append(stream: string, expected: StreamToken, commit: Commit): Promise<StreamToken>;
  /** The stream's commits in order, and the token of the last. An unknown stream is empty. */
  read(stream: string): Promise<{ commits: StoredCommit[]; token: StreamToken }>;
  /** The greatest position so far; 0 when there is none. What a subscriber must have seen to be up to date. */
  head(): Promise<number>;
  /** All commits of all streams with a position greater than `after`, then new ones as they come, until the signal. */
  subscribe(after: number, signal: AbortSignal): AsyncIterable<StoredCommit>;
}

import type { Commit } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { StreamToken } from "./event-store.ts";

/** Commit on the stream that says what was removed, and with it, in the same step, the removal. */
export interface Retirement {
  readonly stream: string;
  /** As for `append`. */
  readonly expected: StreamToken;
  readonly commit: Commit;
  /** Streams that are gone from then on. */
  readonly retired: readonly string[];
}

/** The side of the event store that its keeper sees: the one way in which events ever go. */
export interface StreamKeeping {
  /** Names of streams that begin so, in order. */
  streams(prefix: string): Promise<string[]>;
  /** All of it or nothing; `aborted` as for `append`. Watchers that have not read the retired streams may miss them. */
  retire(retirement: Retirement): Promise<void>;
}

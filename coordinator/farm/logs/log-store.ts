/** Names the output of one attempt. */
export interface LogName {
  readonly executionId: string;
  /** 1 for the first placement. */
  readonly attempt: number;
}

/** A piece of output. */
export interface LogChunk {
  /** Of the first byte of `data`. */
  readonly offset: number;
  readonly data: Uint8Array;
  /** When the agent saw it, wall time. */
  readonly timeMs: number;
}

/**
 * How a log ends. `whole`: with the last byte that the attempt wrote. `gap`: its agent was lost, and after the last byte
 * output may be missing.
 */
export type LogEnd = "whole" | "gap";

/**
 * The output of attempts: append-only, addressed by byte offset, so that every writer and reader can resume.
 * One writer per log at a time; any number of readers. Whoever opened the store closes it.
 */
export interface LogStore {
  /**
   * Stores what is new of the chunk and resolves with the log's size on disk. A chunk that begins beyond that size is
   * not stored (the writer resumes from the size given); what is there already is skipped.
   */
  append(log: LogName, chunk: LogChunk): Promise<number>;
  /**
   * Marks the end: followers finish. A log that is whole stays so and takes no more bytes: they fail with
   * `failed_precondition`. One that ends in a gap takes what a lost agent brings later, with the gap behind it, and can
   * become whole. Safe to repeat.
   */
  finish(log: LogName, end: LogEnd): Promise<void>;
  /** How the log ends; undefined while it has not ended. */
  endOf(log: LogName): Promise<LogEnd | undefined>;
  /**
   * The bytes from `offset` on. With `follow` it waits for more until the log has ended or the signal aborts; without,
   * it ends at the present end. A log that does not exist yet is empty.
   */
  read(log: LogName, options: { offset: number; follow: boolean; signal: AbortSignal }): AsyncIterable<LogChunk>;
}

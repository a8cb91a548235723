export type SqlValue = string | number | bigint | Uint8Array | null;

export interface Statement {
  readonly sql: string;
  /** Positional, for `?`. */
  readonly params?: readonly SqlValue[];
}

/** The tables of one module, so that modules share a database and its commits but not a numbering of migrations. */
export interface SchemaPart {
  /** Unique in its database, and never changed: what was applied is recorded under it. */
  readonly name: string;
  /** The part's history, oldest first: append only. Each may hold several statements. */
  readonly migrations: readonly string[];
}

/**
 * A SQLite database in a worker thread, so that no commit and no large read ever stops the event loop.
 * Calls may be made concurrently; they take effect in the order in which they were made. Whoever opened it closes it.
 */
export interface Sqlite {
  /**
   * Runs the statements as one transaction and resolves, when it is durable, with the rows changed by each. Writes that
   * are close in time share one commit (and one fsync); a failing one takes no other with it.
   * Throws `already_exists` when a UNIQUE or PRIMARY KEY constraint refuses a row, `resource_exhausted` when the disk is full.
   */
  write(statements: readonly Statement[]): Promise<number[]>;
  /** Integers come as number; a query that can give more than 2^53 must cast to TEXT. Blobs come as Uint8Array. */
  query<Row>(sql: string, params?: readonly SqlValue[]): Promise<Row[]>;
  /**
   * Writes the database, as one moment saw it, into a file that must not exist. It takes as long as all of it takes to
   * write, and calls on the same handle wait: ask a read-only handle of its own, beside which others go on writing.
   */
  snapshot(to: string): Promise<void>;
  /** Waits for what was asked before, then closes. */
  close(): Promise<void>;
}

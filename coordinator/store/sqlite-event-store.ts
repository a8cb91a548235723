import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Commit, CommitSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import { changes } from "../../shared/changes.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { SchemaPart, Sqlite } from "../../shared/sqlite/sqlite.ts";
import { type EventStore, emptyStream, type StoredCommit, type StreamToken } from "./event-store.ts";
import { recentCommits } from "./recent-commits.ts";
import type { Retirement, StreamKeeping } from "./stream-keeping.ts";
import { eventVersion, upcast } from "./upcast.ts";

/** For `openSqlite`, before the migrations of others in the same database. */
export const eventStoreSchema: SchemaPart = {
  name: "events",
  migrations: [
    // AUTOINCREMENT: a position is never given twice, or a watcher that resumes from it would miss what took its place.
    // The uniqueness is the second lock behind the condition in `insertCommit`.
    `CREATE TABLE commits (
     position INTEGER PRIMARY KEY AUTOINCREMENT,
     stream TEXT NOT NULL,
     first_sequence INTEGER NOT NULL CHECK (first_sequence >= 1),
     last_sequence INTEGER NOT NULL CHECK (last_sequence >= first_sequence),
     data BLOB NOT NULL,
     UNIQUE (stream, first_sequence)
   ) STRICT`,
  ],
};

const lastSequence = "SELECT last_sequence FROM commits WHERE stream = ? ORDER BY first_sequence DESC LIMIT 1";
const insertCommit = `INSERT INTO commits (stream, first_sequence, last_sequence, data)
  SELECT ?, ?, ?, ? WHERE coalesce((${lastSequence}), 0) = ?`;
const selectStream =
  "SELECT position, stream, first_sequence, last_sequence, data FROM commits WHERE stream = ? ORDER BY first_sequence";
const selectNames = "SELECT DISTINCT stream FROM commits WHERE stream >= ? AND stream < ? ORDER BY stream";
/** Only after the insert before it: where that met another state of its stream, nothing is removed. */
const deleteStreams = `DELETE FROM commits WHERE stream IN (SELECT value FROM json_each(?))
  AND EXISTS (SELECT 1 FROM commits WHERE stream = ? AND first_sequence = ? AND data = ?)`;
const selectAfter =
  "SELECT position, stream, first_sequence, last_sequence, data FROM commits WHERE position > ? ORDER BY position LIMIT ?";

interface Row {
  readonly position: number;
  readonly stream: string;
  readonly first_sequence: number;
  readonly last_sequence: number;
  readonly data: Uint8Array;
}

/**
 * The event store on SQLite; whoever opened the database closes it, after the subscriptions were aborted. It must be
 * the only writer: watchers are woken by its own appends.
 *
 * A token is the sequence of the stream's last event, as text. Positions come from SQLite's single writer, in the order
 * of the commits, so a reader that sees a position has seen all before it, and resuming from one misses nothing.
 */
export function sqliteEventStore({ sqlite }: { readonly sqlite: Sqlite }): EventStore & StreamKeeping {
  const appended = changes();
  /** Own commits that no watcher has read yet, so that they need not be decoded again. Shared: nobody changes them. */
  const written = new Map<string, Commit>();
  const readAfter = async (position: number) => {
    const rows = await sqlite.query<Row>(selectAfter, [position, limits.eventPageCommits]);
    return rows.map((row) => {
      const key = commitKey(row.stream, row.first_sequence);
      const commit = written.get(key);
      written.delete(key);
      return stored(row, commit);
    });
  };
  const recent = recentCommits(readAfter);

  async function appendWith({ stream, expected, commit, retired }: Retirement): Promise<StreamToken> {
    const count = commit.events.length;
    if (count === 0) throw new MillraceError("invalid_argument", `appending to ${stream}: the commit has no events`);
    const last = sequenceOf(expected, stream);
    for (const event of commit.events) event.version = eventVersion;
    const data = toBinary(CommitSchema, commit);
    const insert = { sql: insertCommit, params: [stream, last + 1, last + count, data, stream, last] };
    const remove = { sql: deleteStreams, params: [JSON.stringify(retired), stream, last + 1, data] };
    const [inserted] = await sqlite.write(retired.length === 0 ? [insert] : [insert, remove]);
    if (inserted !== 1) {
      throw new MillraceError("aborted", `appending to ${stream}: it changed since it was read; read and decide again`);
    }
    written.set(commitKey(stream, last + 1), commit);
    const [oldest] = written.keys();
    if (written.size > limits.unreadCommits && oldest !== undefined) written.delete(oldest);
    appended.announce();
    return token(last + count);
  }

  return {
    append: (stream, expected, commit) => appendWith({ stream, expected, commit, retired: [] }),

    async retire(retirement) {
      await appendWith(retirement);
    },

    async streams(prefix) {
      // No name of a stream has a character beyond this one.
      const rows = await sqlite.query<{ stream: string }>(selectNames, [prefix, `${prefix}\u{10ffff}`]);
      return rows.map(({ stream }) => stream);
    },

    async read(stream) {
      const rows = await sqlite.query<Row>(selectStream, [stream]);
      return { commits: rows.map((row) => stored(row)), token: token(rows.at(-1)?.last_sequence ?? 0) };
    },

    async head() {
      const [row] = await sqlite.query<{ head: number }>("SELECT coalesce(max(position), 0) AS head FROM commits");
      return row?.head ?? 0;
    },

    async *subscribe(after, signal) {
      let cursor = after;
      while (!signal.aborted) {
        const version = appended.version();
        const commits = await recent.after(cursor, version);
        if (commits.length === 0) await appended.after(version, signal);
        for (const commit of commits) {
          if (signal.aborted) return;
          cursor = commit.position;
          yield commit;
        }
      }
    },
  };
}

function token(sequence: number): StreamToken {
  return sequence === 0 ? emptyStream : (String(sequence) as StreamToken);
}

function sequenceOf(expected: StreamToken, stream: string): number {
  if (expected === emptyStream) return 0;
  if (!/^[1-9]\d{0,14}$/.test(expected)) {
    throw new MillraceError(
      "invalid_argument",
      `appending to ${stream}: "${expected}" is no token of this event store`,
    );
  }
  return Number(expected);
}

function commitKey(stream: string, firstSequence: number): string {
  return `${firstSequence} ${stream}`;
}

/** @param known its commit, where it need not be decoded */
function stored(row: Row, known?: Commit): StoredCommit {
  const { stream, position, first_sequence: firstSequence, last_sequence: lastSequence } = row;
  let commit = known;
  return {
    ...{ stream, position, firstSequence, lastSequence },
    get commit() {
      commit ??= decoded(row);
      return commit;
    },
  };
}

function decoded({ stream, position, data }: Row): Commit {
  try {
    return upcast(fromBinary(CommitSchema, data));
  } catch (error) {
    const message = `the commit at position ${position} of stream ${stream} cannot be decoded: ${from(error).message}`;
    throw new MillraceError("data_loss", message, { cause: error });
  }
}

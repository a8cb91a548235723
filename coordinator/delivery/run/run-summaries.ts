import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Event, RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type Run, RunSchema } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { digestFromMessage, digestKey, digestToMessage, parseDigestKey } from "../../../shared/digest.ts";
import { from } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { patiently, retry } from "../../../shared/retry.ts";
import type { SchemaPart, Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import type { EventStore } from "../../store/event-store.ts";
import { runOfStream } from "./run-actor.ts";
import { runNumber } from "./runs.ts";

/** A line per run, folded from the log: may be thrown away and is then made anew. */
export interface RunSummaries {
  /** Newest first, with a number smaller than `before`. */
  list(options: { readonly before?: number; readonly limit: number }): Promise<Run[]>;
  /** Names of runs that have not finished. */
  unfinished(): Promise<string[]>;
  /** The run of an idempotency key, if there is one. */
  byKey(project: string, key: string): Promise<string | undefined>;
  /** The greatest number so far; 0 when there is none. */
  lastNumber(): Promise<number>;
}

export const runSummarySchema: SchemaPart = {
  name: "run-summaries",
  migrations: [
    `CREATE TABLE run_summary (
     number INTEGER PRIMARY KEY,
     run TEXT NOT NULL,
     project TEXT NOT NULL,
     pipeline TEXT NOT NULL,
     principal TEXT NOT NULL,
     source TEXT NOT NULL,
     idempotency_key TEXT,
     status INTEGER NOT NULL,
     created_ms INTEGER NOT NULL,
     finished_ms INTEGER
   ) STRICT`,
    "CREATE INDEX run_summary_key ON run_summary (project, idempotency_key) WHERE idempotency_key IS NOT NULL",
    `CREATE INDEX run_summary_unfinished ON run_summary (status) WHERE status = ${RunStatus.RUNNING}`,
    "CREATE TABLE run_summary_position (position INTEGER NOT NULL) STRICT",
    "INSERT INTO run_summary_position (position) VALUES (0)",
  ],
};

interface Row {
  number: number;
  run: string;
  project: string;
  pipeline: string;
  principal: string;
  source: string;
  status: RunStatus;
  created_ms: number;
  finished_ms: number | null;
}

export interface RunSummariesDeps {
  readonly sqlite: Sqlite;
  readonly store: EventStore;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export function runSummaries({ sqlite, store, clock, onError }: RunSummariesDeps): RunSummaries & Component {
  const stopped = new AbortController();

  /** Rows and position change in one transaction, so a crash can neither skip nor repeat a commit. */
  async function save(changes: readonly Statement[], position: number): Promise<void> {
    await sqlite.write([...changes, { sql: "UPDATE run_summary_position SET position = ?", params: [position] }]);
  }

  async function position(): Promise<number> {
    const rows = await sqlite.query<{ position: number }>("SELECT position FROM run_summary_position");
    return rows[0]?.position ?? 0;
  }

  /**
   * Folds until stopped; `upTo` is called when the commit at that position has been folded. What was there before goes in
   * batches. Commits that change nothing are passed over on disk, too, or each start would read them again.
   */
  async function follow(head: number, upTo: () => void): Promise<void> {
    let saved = await position();
    if (saved >= head) upTo();
    let changes: Statement[] = [];
    for await (const { stream, position: at, commit } of store.subscribe(saved, stopped.signal)) {
      const run = runOfStream(stream);
      if (run !== undefined) changes.push(...commit.events.flatMap((event) => changeOf(run, event)));
      const isBehind = at < head;
      const isDue = isBehind ? changes.length >= limits.summaryBatch : changes.length > 0 || at === head;
      if (isDue || at - saved >= limits.summaryPassed) {
        await save(changes, at);
        changes = [];
        saved = at;
      }
      if (!isBehind) upTo();
    }
  }

  /** A disk that is full, or any other trouble, must not end the summaries for good: they go on where they were. */
  const isRetryable = (error: unknown): boolean => {
    onError(from(error, "folding events into run summaries"));
    return true;
  };

  return {
    name: "run summaries",

    async start() {
      // What was appended before this start must be visible before anybody asks for unfinished runs.
      const caughtUp = Promise.withResolvers<void>();
      const head = await store.head();
      const { signal } = stopped;
      retry(() => follow(head, caughtUp.resolve), { ...patiently, clock, signal, isRetryable }).catch(caughtUp.reject);
      await caughtUp.promise;
    },

    async stop() {
      stopped.abort();
    },

    async list({ before = Number.MAX_SAFE_INTEGER, limit }) {
      const sql = "SELECT * FROM run_summary WHERE number < ? ORDER BY number DESC LIMIT ?";
      return (await sqlite.query<Row>(sql, [before, limit])).map(toRun);
    },

    async unfinished() {
      const sql = "SELECT run FROM run_summary WHERE status = ? ORDER BY number";
      return (await sqlite.query<{ run: string }>(sql, [RunStatus.RUNNING])).map(({ run }) => run);
    },

    async byKey(project, key) {
      const sql = "SELECT run FROM run_summary WHERE project = ? AND idempotency_key = ? ORDER BY number";
      return (await sqlite.query<{ run: string }>(sql, [project, key]))[0]?.run;
    },

    async lastNumber() {
      const rows = await sqlite.query<{ last: number | null }>("SELECT max(number) AS last FROM run_summary");
      return rows[0]?.last ?? 0;
    },
  };
}

function changeOf(run: string, { kind, time, project, principal }: Event): Statement[] {
  const timeMs = time === undefined ? 0 : timestampMs(time);
  if (kind.case === "runRequested") {
    const { pipeline, source, idempotencyKey } = kind.value;
    return [
      {
        sql: `INSERT INTO run_summary
              (number, run, project, pipeline, principal, source, idempotency_key, status, created_ms)
              VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO NOTHING`,
        params: [
          runNumber(run) ?? 0,
          run,
          project,
          pipeline,
          principal,
          digestKey(digestFromMessage(source)),
          idempotencyKey === "" ? null : idempotencyKey,
          RunStatus.RUNNING,
          timeMs,
        ],
      },
    ];
  }
  if (kind.case === "runFinished") {
    const sql = "UPDATE run_summary SET status = ?, finished_ms = ? WHERE run = ?";
    return [{ sql, params: [kind.value.status, timeMs, run] }];
  }
  return [];
}

function toRun(row: Row): Run {
  return create(RunSchema, {
    name: row.run,
    project: row.project,
    pipeline: row.pipeline,
    principal: row.principal,
    source: digestToMessage(parseDigestKey(row.source)),
    status: row.status,
    createTime: timestampFromMs(row.created_ms),
    ...(row.finished_ms === null ? {} : { finishTime: timestampFromMs(row.finished_ms) }),
  });
}

import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type BranchCommit, BranchCommitSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { type Event, RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type Run, RunSchema } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { digestFromMessage, digestKey, digestToMessage, parseDigestKey } from "../../../shared/digest.ts";
import { from } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { patiently, retry } from "../../../shared/retry.ts";
import type { SchemaPart, Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import { turns } from "../../../shared/turns.ts";
import type { EventStore, StoredCommit } from "../../store/event-store.ts";
import type { PipelineOfRepository } from "../source/git-submits.ts";
import { isImported } from "../source/run-source.ts";
import { runOfStream } from "./run-actor.ts";
import { keepingStream, type RunSelection, runNumber } from "./runs.ts";

/** A line per run, folded from the log: may be thrown away and is then made anew. */
export interface RunSummaries {
  /** Newest first, with a number smaller than `before`, of these projects (default all). */
  list(options: RunSelection): Promise<Run[]>;
  /** Names of runs that have not finished. */
  unfinished(): Promise<string[]>;
  /** The run of an idempotency key, if there is one. */
  byKey(project: string, key: string): Promise<string | undefined>;
  /** The last imported commit of each branch, the newest first; at most `limits.previousCommits`. */
  lastCommits(of: PipelineOfRepository): Promise<readonly BranchCommit[]>;
  /** The greatest number that may have been given so far; 0 when there is none. */
  lastNumber(): Promise<number>;
  /** Folds all lines anew from the log. Readers see the old ones until the new ones take their place, all at once. */
  rebuild(): Promise<RebuiltSummaries>;
}

/** What a rebuild found. */
export interface RebuiltSummaries {
  readonly commits: number;
  readonly runs: number;
  /** Lines that are not as they were: 0 unless something had gone wrong. */
  readonly changed: number;
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
    // The lines of a rebuild, until they are whole.
    "CREATE TABLE run_summary_rebuilt AS SELECT * FROM run_summary WHERE false",
    "CREATE UNIQUE INDEX run_summary_rebuilt_number ON run_summary_rebuilt (number)",
    "CREATE INDEX run_summary_rebuilt_run ON run_summary_rebuilt (run)",
    "ALTER TABLE run_summary ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE run_summary_rebuilt ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE run_summary ADD COLUMN allowed_failures INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE run_summary_rebuilt ADD COLUMN allowed_failures INTEGER NOT NULL DEFAULT 0",
    // No run has a number up to it any more, or anew: a restore raises it.
    "CREATE TABLE run_number_floor (floor INTEGER NOT NULL) STRICT",
    "INSERT INTO run_number_floor (floor) VALUES (0)",
    // Of runs of an imported commit on a branch alone: what the next one on it is compared with.
    ...["run_summary", "run_summary_rebuilt"].flatMap((table) =>
      ["pipeline_path", "git_url", "git_branch", "git_commit"].map(
        (column) => `ALTER TABLE ${table} ADD COLUMN ${column} TEXT`,
      ),
    ),
    `CREATE INDEX run_summary_branch ON run_summary (project, pipeline_path, git_url, git_branch, number)
       WHERE git_url IS NOT NULL`,
  ],
};

type SummaryTable = "run_summary" | "run_summary_rebuilt";

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
  pinned: number;
  allowed_failures: number;
}

export interface RunSummariesDeps {
  readonly sqlite: Sqlite;
  readonly store: EventStore;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export function runSummaries({ sqlite, store, clock, onError }: RunSummariesDeps): RunSummaries & Component {
  const stopped = new AbortController();
  /** Up to where the lines are folded; beyond what is on disk by commits that change none. */
  let folded = 0;
  /** One after the other: a fold, or the exchange of all lines. */
  const { take: inTurn } = turns();

  /** Rows and position change in one transaction, so a crash can neither skip nor repeat a commit. */
  async function save(changes: readonly Statement[], position: number): Promise<void> {
    await sqlite.write([...changes, { sql: "UPDATE run_summary_position SET position = ?", params: [position] }]);
    folded = position;
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
    folded = saved;
    if (saved >= head) upTo();
    let changes: Statement[] = [];
    for await (const stored of store.subscribe(saved, stopped.signal)) {
      const at = stored.position;
      changes.push(...changesOf(stored, "run_summary"));
      const isBehind = at < head;
      const isDue = isBehind ? changes.length >= limits.summaryBatch : changes.length > 0 || at === head;
      if (isDue || at - saved >= limits.summaryPassed) {
        const batch = changes;
        await inTurn(() => save(batch, at));
        changes = [];
        saved = at;
      } else if (changes.length === 0) {
        folded = at;
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

    async list({ before = Number.MAX_SAFE_INTEGER, limit, projects }) {
      const these = projects === undefined ? "" : "AND project IN (SELECT value FROM json_each(?)) ";
      const params = projects === undefined ? [before, limit] : [before, JSON.stringify(projects), limit];
      const sql = `SELECT * FROM run_summary WHERE number < ? ${these}ORDER BY number DESC LIMIT ?`;
      return (await sqlite.query<Row>(sql, params)).map(toRun);
    },

    async unfinished() {
      const sql = "SELECT run FROM run_summary WHERE status = ? ORDER BY number";
      return (await sqlite.query<{ run: string }>(sql, [RunStatus.RUNNING])).map(({ run }) => run);
    },

    async byKey(project, key) {
      const sql = "SELECT run FROM run_summary WHERE project = ? AND idempotency_key = ? ORDER BY number";
      return (await sqlite.query<{ run: string }>(sql, [project, key]))[0]?.run;
    },

    async lastCommits({ project, pipelinePaths, url }) {
      const sql = `SELECT git_branch, git_commit, max(number) AS last FROM run_summary
        WHERE project = ? AND pipeline_path IN (${pipelinePaths.map(() => "?").join()}) AND git_url = ?
        GROUP BY git_branch ORDER BY last DESC LIMIT ?`;
      const params = [project, ...pipelinePaths, url, limits.previousCommits];
      const rows = await sqlite.query<{ git_branch: string; git_commit: string }>(sql, params);
      return rows.map(({ git_branch: branch, git_commit: commit }) => create(BranchCommitSchema, { branch, commit }));
    },

    async lastNumber() {
      const sql = `SELECT max(floor, coalesce((SELECT max(number) FROM run_summary), 0)) AS last FROM run_number_floor`;
      return (await sqlite.query<{ last: number }>(sql))[0]?.last ?? 0;
    },

    async rebuild() {
      await sqlite.write([{ sql: "DELETE FROM run_summary_rebuilt" }]);
      let progress = await foldAnew({ commits: 0, position: 0 }, folded);
      return await inTurn(async () => {
        progress = await foldAnew(progress, folded); // what came meanwhile is little
        const [row] = await sqlite.query<{ changed: number }>(countChanged);
        const [, runs = 0] = await sqlite.write([
          { sql: "DELETE FROM run_summary" },
          { sql: "INSERT INTO run_summary SELECT * FROM run_summary_rebuilt" },
          { sql: "DELETE FROM run_summary_rebuilt" },
        ]);
        return { commits: progress.commits, runs, changed: row?.changed ?? 0 };
      });
    },
  };

  /** Folds on, up to a position that has been reached, into the lines that are not shown yet. */
  async function foldAnew(from: FoldProgress, upTo: number): Promise<FoldProgress> {
    let { commits, position: at } = from;
    if (at >= upTo) return from;
    const changes: Statement[] = [];
    for await (const stored of store.subscribe(at, stopped.signal)) {
      if (stored.position > upTo) break;
      changes.push(...changesOf(stored, "run_summary_rebuilt"));
      commits += 1;
      at = stored.position;
      if (changes.length >= limits.rebuildStatements) await sqlite.write(changes.splice(0));
      if (at >= upTo) break;
    }
    stopped.signal.throwIfAborted();
    if (changes.length > 0) await sqlite.write(changes);
    return { commits, position: at };
  }
}

interface FoldProgress {
  readonly commits: number;
  readonly position: number;
}

/** Of runs with a line on one side alone or another one on each side. */
const countChanged = `SELECT count(DISTINCT number) AS changed FROM (
  SELECT * FROM (SELECT * FROM run_summary EXCEPT SELECT * FROM run_summary_rebuilt)
  UNION ALL
  SELECT * FROM (SELECT * FROM run_summary_rebuilt EXCEPT SELECT * FROM run_summary))`;

/** Asks for no commit that says nothing of runs: what others cannot decode is no reason to stop. */
function changesOf(stored: StoredCommit, table: SummaryTable): Statement[] {
  if (stored.stream === keepingStream) return stored.commit.events.flatMap((event) => removalOf(event, table));
  const run = runOfStream(stored.stream);
  return run === undefined ? [] : stored.commit.events.flatMap((event) => changeOf(run, event, table));
}

function removalOf({ kind }: Event, table: SummaryTable): Statement[] {
  if (kind.case !== "runsExpired") return [];
  const sql = `DELETE FROM ${table} WHERE run IN (SELECT value FROM json_each(?))`;
  return [{ sql, params: [JSON.stringify(kind.value.runs)] }];
}

function changeOf(run: string, { kind, time, project, principal }: Event, table: SummaryTable): Statement[] {
  const timeMs = time === undefined ? 0 : timestampMs(time);
  if (kind.case === "runRequested") {
    const { pipeline, pipelinePath, source, git, idempotencyKey } = kind.value;
    const isFollowed = git !== undefined && git.branch !== "" && isImported(git);
    return [
      {
        sql: `INSERT INTO ${table}
              (number, run, project, pipeline, principal, source, idempotency_key, status, created_ms,
               pipeline_path, git_url, git_branch, git_commit)
              VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (number) DO NOTHING`,
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
          ...(isFollowed ? [pipelinePath, git.url, git.branch, git.commit] : [null, null, null, null]),
        ],
      },
    ];
  }
  if (kind.case === "runFinished") {
    const sql = `UPDATE ${table} SET status = ?, finished_ms = ?, allowed_failures = ? WHERE run = ?`;
    return [{ sql, params: [kind.value.status, timeMs, kind.value.allowedFailures, run] }];
  }
  if (kind.case === "tasksReopened") {
    const sql = `UPDATE ${table} SET status = ?, finished_ms = NULL, allowed_failures = 0 WHERE run = ?`;
    return [{ sql, params: [RunStatus.RUNNING, run] }];
  }
  if (kind.case === "runPinned" || kind.case === "runUnpinned") {
    const pinned = kind.case === "runPinned" ? 1 : 0;
    return [{ sql: `UPDATE ${table} SET pinned = ? WHERE run = ?`, params: [pinned, run] }];
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
    pinned: row.pinned === 1,
    allowedFailures: row.allowed_failures,
    createTime: timestampFromMs(row.created_ms),
    ...(row.finished_ms === null ? {} : { finishTime: timestampFromMs(row.finished_ms) }),
  });
}

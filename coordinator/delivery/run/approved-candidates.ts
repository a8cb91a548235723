import { create } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type ApprovedCandidate,
  ApprovedCandidateSchema,
  CommitSchema,
  EventSchema,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { changes } from "../../../shared/changes.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { patiently, retry } from "../../../shared/retry.ts";
import type { SchemaPart, Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import { turns } from "../../../shared/turns.ts";
import type { EventStore, StoredCommit } from "../../store/event-store.ts";
import { approvalsOf, type Candidate, type Candidates, isApproval } from "./candidates.ts";
import { runOfStream } from "./run-actor.ts";
import { keepingStream, runNumber } from "./runs.ts";

/** By key the newest run that was approved: it only ever grows, also when that run is removed. */
export const candidateSchema: SchemaPart = {
  name: "candidates",
  migrations: [
    `CREATE TABLE approved_candidate (
     project TEXT NOT NULL,
     pipeline TEXT NOT NULL,
     branch TEXT NOT NULL,
     stage TEXT NOT NULL,
     number INTEGER NOT NULL,
     run TEXT NOT NULL,
     approved_ms INTEGER NOT NULL,
     PRIMARY KEY (project, pipeline, branch, stage)
   ) STRICT`,
    "CREATE TABLE approved_candidate_position (position INTEGER NOT NULL) STRICT",
    "INSERT INTO approved_candidate_position (position) VALUES (0)",
    // Whether the log knows all that is known here: see `tellLog`.
    "ALTER TABLE approved_candidate_position ADD COLUMN told INTEGER NOT NULL DEFAULT 0",
  ],
};

interface Row {
  readonly project: string;
  readonly pipeline: string;
  readonly branch: string;
  readonly stage: string;
  readonly number: number;
  readonly run: string;
  readonly approved_ms: number;
}

const selectNewer = `SELECT run, approved_ms FROM approved_candidate
  WHERE project = ? AND pipeline = ? AND branch = ? AND stage = ? AND number > ?`;
const insertRow = `INSERT INTO approved_candidate (project, pipeline, branch, stage, number, run, approved_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?)`;
const keepNewest = `${insertRow}
  ON CONFLICT (project, pipeline, branch, stage) DO UPDATE
  SET number = excluded.number, run = excluded.run, approved_ms = excluded.approved_ms
  WHERE excluded.number > number`;

export interface CandidatesDeps {
  readonly sqlite: Sqlite;
  readonly store: Pick<EventStore, "append" | "read" | "head" | "subscribe">;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** What a rebuild found. */
export interface RebuiltCandidates {
  readonly candidates: number;
  /** That are not as they were: 0 unless something had gone wrong. */
  readonly changed: number;
}

/** The side of the candidates that their keeper sees. */
export interface CandidateKeeping {
  /** Folds all of them anew from the log, while decisions go on. */
  rebuild(): Promise<RebuiltCandidates>;
}

/**
 * Follows the log. What removes runs says what they were approved for, so that the log goes on knowing it. A decision waits
 * until it has seen all that is on disk, so it is never behind.
 */
export function approvedCandidates({
  sqlite,
  store,
  clock,
  onError,
}: CandidatesDeps): Candidates & CandidateKeeping & Component {
  const stopped = new AbortController();
  const moved = changes();
  const deciding = turns();
  /** One after the other: a step of the fold, or the exchange of all rows. */
  const { take: inTurn } = turns();
  /** Up to where it has seen the log; ahead of what is written down by commits that say nothing here. */
  let seen = 0;

  async function follow(): Promise<void> {
    const [row] = await sqlite.query<{ position: number }>("SELECT position FROM approved_candidate_position");
    let saved = row?.position ?? 0;
    seen = saved;
    moved.announce();
    for await (const stored of store.subscribe(saved, stopped.signal)) {
      const { position } = stored;
      const found = (await rowsIn(stored)).map((one): Statement => ({ sql: keepNewest, params: paramsOf(one) }));
      await inTurn(async () => {
        if (found.length > 0 || position - saved >= limits.summaryPassed) {
          await sqlite.write([
            ...found,
            { sql: "UPDATE approved_candidate_position SET position = ?", params: [position] },
          ]);
          saved = position;
        }
        seen = position;
      });
      moved.announce();
    }
  }

  /** What a commit says of approved runs. Those of other streams are not asked for: see `StoredCommit`. */
  async function rowsIn(stored: StoredCommit): Promise<Row[]> {
    const { stream } = stored;
    if (stream === keepingStream) {
      const kinds = stored.commit.events.map(({ kind }) => kind);
      return kinds.flatMap((kind) => (kind.case === "runsExpired" ? kind.value.approvals.map(rowOf) : []));
    }
    const run = runOfStream(stream);
    if (run === undefined || !stored.commit.events.some(isApproval)) return [];
    const { commits } = await store.read(stream); // empty when it was removed meanwhile, of which a later commit tells
    return approvalsOf(
      run,
      commits.flatMap((one) => one.commit.events),
    ).map(rowOf);
  }

  /** Folds on, from a position up to another one, both of which were reached. */
  async function fold(rows: Map<string, Row>, after: number, upTo: number): Promise<void> {
    if (after >= upTo) return;
    for await (const stored of store.subscribe(after, stopped.signal)) {
      if (stored.position > upTo) break;
      for (const row of await rowsIn(stored)) {
        if (row.number > (rows.get(keyOf(row))?.number ?? 0)) rows.set(keyOf(row), row);
      }
      if (stored.position >= upTo) break;
    }
    stopped.signal.throwIfAborted();
  }

  const present = () => sqlite.query<Row>("SELECT * FROM approved_candidate");

  /** Once: runs that were removed before that said what they were approved for are known here alone. */
  async function tellLog(): Promise<void> {
    const [row] = await sqlite.query<{ told: number }>("SELECT told FROM approved_candidate_position");
    if (row?.told === 1) return;
    const [rows, known] = [await present(), new Map<string, Row>()];
    if (rows.length > 0) await fold(known, 0, seen);
    const unknown = rows.filter((one) => one.number > (known.get(keyOf(one))?.number ?? 0));
    if (unknown.length > 0) {
      const value = { runs: [...new Set(unknown.map(({ run }) => run))], approvals: unknown.map(approvalOf) };
      const kind = { case: "runsExpired", value } as const;
      const event = create(EventSchema, { time: timestampFromMs(clock.nowMs()), principal: "system:keeping", kind });
      const { token } = await store.read(keepingStream);
      await store.append(keepingStream, token, create(CommitSchema, { events: [event] }));
    }
    await sqlite.write([{ sql: "UPDATE approved_candidate_position SET told = 1" }]);
  }

  /** Resolves when everything that is on disk now was seen. */
  async function catchUp(): Promise<void> {
    const head = await store.head();
    for (let version = moved.version(); seen < head; version = moved.version()) {
      stopped.signal.throwIfAborted();
      await moved.after(version, stopped.signal);
    }
  }

  async function newerThan({ run, project, pipeline, branch }: Candidate, stage: string) {
    const params = [project, pipeline, branch, stage, runNumber(run) ?? 0];
    const [row] = await sqlite.query<Pick<Row, "run" | "approved_ms">>(selectNewer, params);
    return row === undefined ? undefined : { run: row.run, approvedMs: row.approved_ms };
  }

  /** Trouble with the disk must not end it for good: decisions wait until it is over. */
  const isRetryable = (error: unknown): boolean => {
    onError(from(error, "looking for approved runs"));
    return true;
  };

  return {
    name: "candidates",
    newerThan,

    decide: (candidate, stage, act) =>
      deciding.take(async () => {
        await catchUp();
        return await act(await newerThan(candidate, stage));
      }),

    async rebuild() {
      const rows = new Map<string, Row>();
      const reached = seen;
      await fold(rows, 0, reached);
      return await inTurn(async () => {
        await fold(rows, reached, seen); // what came meanwhile is little
        const changed = countChanged(await present(), rows);
        await sqlite.write([
          { sql: "DELETE FROM approved_candidate" },
          ...[...rows.values()].map((row): Statement => ({ sql: insertRow, params: paramsOf(row) })),
        ]);
        return { candidates: rows.size, changed };
      });
    },

    async start() {
      retry(follow, { ...patiently, clock, signal: stopped.signal, isRetryable }).catch((error: unknown) => {
        if (!stopped.signal.aborted) onError(from(error, "looking for approved runs"));
      });
      await catchUp();
      // A disk that is full is no reason not to start: the next one tries again.
      await tellLog().catch((error: unknown) => onError(from(error, "recording which removed runs were approved")));
    },

    async stop() {
      stopped.abort();
    },
  };
}

function rowOf({ run, project, pipeline, branch, stage, time }: ApprovedCandidate): Row {
  const at = { number: runNumber(run) ?? 0, run, approved_ms: time === undefined ? 0 : timestampMs(time) };
  return { project, pipeline, branch, stage, ...at };
}

function approvalOf({ approved_ms: timeMs, number: _number, ...row }: Row): ApprovedCandidate {
  return create(ApprovedCandidateSchema, { ...row, time: timestampFromMs(timeMs) });
}

function keyOf({ project, pipeline, branch, stage }: Row): string {
  return JSON.stringify([project, pipeline, branch, stage]);
}

function paramsOf({ project, pipeline, branch, stage, number, run, approved_ms: timeMs }: Row) {
  return [project, pipeline, branch, stage, number, run, timeMs];
}

/** Places with a row on one side alone or another one on each side. */
function countChanged(before: readonly Row[], after: ReadonlyMap<string, Row>): number {
  const former = new Map(before.map((row) => [keyOf(row), JSON.stringify(paramsOf(row))]));
  const places = new Set([...former.keys(), ...after.keys()]);
  return [...places].filter((place) => {
    const row = after.get(place);
    return row === undefined || former.get(place) !== JSON.stringify(paramsOf(row));
  }).length;
}

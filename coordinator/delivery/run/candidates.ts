import { timestampMs } from "@bufbuild/protobuf/wkt";
import { type Event, GateDecision, type RunRequested } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { changes } from "../../../shared/changes.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { patiently, retry } from "../../../shared/retry.ts";
import type { SchemaPart, Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import { turns } from "../../../shared/turns.ts";
import type { EventStore, StoredCommit } from "../../store/event-store.ts";
import type { NewerCandidate } from "./gate.ts";
import { runOfStream } from "./run-actor.ts";
import { runNumber } from "./runs.ts";

/** A run, as far as it competes with others for the same place. */
export interface Candidate {
  readonly run: string;
  readonly project: string;
  readonly pipeline: string;
  /** Empty where the source was no commit of a branch. */
  readonly branch: string;
}

/**
 * Runs of one pipeline, project and branch are candidates for the same place, and what was approved once is not overtaken
 * by an older one. The one place that knows of more than one run when a gate is decided.
 */
export interface Candidates {
  /**
   * Decides at a gate while nobody else does: `act` gets the newer run that was approved at this stage, if there is one, and
   * what it makes durable is known to the next decision.
   */
  decide<T>(candidate: Candidate, stage: string, act: (newer: NewerCandidate | undefined) => Promise<T>): Promise<T>;
  /** As it is known now, for views. */
  newerThan(candidate: Candidate, stage: string): Promise<NewerCandidate | undefined>;
}

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
  ],
};

const selectNewer = `SELECT run, approved_ms FROM approved_candidate
  WHERE project = ? AND pipeline = ? AND branch = ? AND stage = ? AND number > ?`;
const keepNewest = `INSERT INTO approved_candidate (project, pipeline, branch, stage, number, run, approved_ms)
  VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (project, pipeline, branch, stage) DO UPDATE
  SET number = excluded.number, run = excluded.run, approved_ms = excluded.approved_ms
  WHERE excluded.number > number`;

export interface CandidatesDeps {
  readonly sqlite: Sqlite;
  readonly store: Pick<EventStore, "read" | "head" | "subscribe">;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/**
 * Follows the log. It is not rebuilt like a projection: a run that was approved counts also when it was removed, and the log
 * knows no more of it. A decision waits until it has seen all that is on disk, so it is never behind.
 */
export function approvedCandidates({ sqlite, store, clock, onError }: CandidatesDeps): Candidates & Component {
  const stopped = new AbortController();
  const moved = changes();
  const deciding = turns();
  /** Up to where it has seen the log; ahead of what is written down by commits that say nothing here. */
  let seen = 0;

  async function follow(): Promise<void> {
    const [row] = await sqlite.query<{ position: number }>("SELECT position FROM approved_candidate_position");
    let saved = row?.position ?? 0;
    seen = saved;
    moved.announce();
    for await (const stored of store.subscribe(saved, stopped.signal)) {
      const found = await approvalsIn(stored);
      if (found.length > 0 || stored.position - saved >= limits.summaryPassed) {
        const position = { sql: "UPDATE approved_candidate_position SET position = ?", params: [stored.position] };
        await sqlite.write([...found, position]);
        saved = stored.position;
      }
      seen = stored.position;
      moved.announce();
    }
  }

  async function approvalsIn({ stream, commit }: StoredCommit): Promise<Statement[]> {
    const run = runOfStream(stream);
    const approvals = run === undefined ? [] : commit.events.filter(isApproval);
    if (run === undefined || approvals.length === 0) return [];
    const { commits } = await store.read(stream);
    const candidate = candidateOf(
      run,
      commits.flatMap((one) => one.commit.events),
    );
    if (candidate === undefined) return []; // it was removed meanwhile
    const { project, pipeline, branch } = candidate;
    return approvals.map(({ kind, time }) => {
      const stage = kind.case === "gateDecided" ? stageOf(kind.value.task) : "";
      const approvedMs = time === undefined ? 0 : timestampMs(time);
      return { sql: keepNewest, params: [project, pipeline, branch, stage, runNumber(run) ?? 0, run, approvedMs] };
    });
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
    const [row] = await sqlite.query<{ run: string; approved_ms: number }>(selectNewer, params);
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

    async start() {
      retry(follow, { ...patiently, clock, signal: stopped.signal, isRetryable }).catch((error: unknown) => {
        if (!stopped.signal.aborted) onError(from(error, "looking for approved runs"));
      });
      await catchUp();
    },

    async stop() {
      stopped.abort();
    },
  };
}

/** What a run is a candidate for; undefined for events that are no run's. */
export function candidateOf(run: string, events: readonly Event[]): Candidate | undefined {
  const [first] = events;
  if (first?.kind.case !== "runRequested") return undefined;
  const { pipeline, git }: RunRequested = first.kind.value;
  return { run, project: first.project, pipeline, branch: git?.branch ?? "" };
}

function isApproval({ kind }: Event): boolean {
  return kind.case === "gateDecided" && kind.value.decision === GateDecision.APPROVED;
}

/** `stage/task` → `stage`. */
function stageOf(task: string): string {
  return task.slice(0, task.indexOf("/"));
}

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Assign, AssignSchema } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import type { SchemaPart, Sqlite } from "../../shared/sqlite/sqlite.ts";
import { type DeployState, firstState } from "./deploy-state.ts";
import type { Release, Target } from "./release.ts";

/** What is known of an operation beside its state. */
export interface DeployNotes {
  readonly movedBytes: number;
  readonly probeAnswer: string;
}

export interface JournaledDeploy extends DeployNotes {
  readonly state: DeployState;
}

/** Host operations on disk. What is not written here has not been begun. */
export interface Journal {
  /**
   * The operation's entry, made when there is none: an operation that comes again goes on where it stood. A new one must
   * have a greater epoch than every one before it on the same target.
   * @throws MillraceError failed_precondition when it has not: it comes late, and what came after it has been done
   */
  begin(message: Assign, target: Target): Promise<JournaledDeploy>;
  /**
   * The operation goes on under this assignment, which has a greater epoch than the one that it was begun with. Of one that
   * has no entry, or none any more, only the epoch is kept.
   */
  takeOver(message: Assign, target: Target): Promise<void>;
  /** Resolves when durable. Call it before the step is taken. */
  save(executionId: string, entry: JournaledDeploy): Promise<void>;
  /** The last step: with a release, that is the verified one from now on. */
  finish(executionId: string, entry: JournaledDeploy, target: Target, verified: Release | undefined): Promise<void>;
  /** The release that the last successful deployment left. */
  verified(target: Target): Promise<Release | undefined>;
  /** Assignments whose report is not on disk yet, in order of arrival. */
  unreported(): Promise<Assign[]>;
  /** The report is in the outbox: the operation is over. */
  reported(executionId: string): Promise<void>;
}

export const hostOperationSchema: SchemaPart = {
  name: "host-operations",
  migrations: [
    `-- Host operations under way: the assignment (millrace.v1.Assign), and the step that is being taken.
   CREATE TABLE host_operations (
     execution_id TEXT PRIMARY KEY,
     assign BLOB NOT NULL,
     step TEXT NOT NULL,
     state TEXT NOT NULL,
     moved_bytes INTEGER NOT NULL,
     probe_answer TEXT NOT NULL
   ) STRICT;

   -- What a deployment has left and a failed one goes back to.
   CREATE TABLE verified_releases (
     environment TEXT NOT NULL,
     app TEXT NOT NULL,
     release TEXT NOT NULL,
     PRIMARY KEY (environment, app)
   ) STRICT;`,
    `-- The greatest epoch under which something was begun.
   CREATE TABLE host_operation_fences (
     environment TEXT NOT NULL,
     app TEXT NOT NULL,
     term INTEGER NOT NULL,
     number INTEGER NOT NULL,
     PRIMARY KEY (environment, app)
   ) STRICT;`,
  ],
};

interface Row {
  state: string;
  moved_bytes: number;
  probe_answer: string;
}

export function sqliteJournal(database: Pick<Sqlite, "write" | "query">): Journal {
  async function entryOf(executionId: string): Promise<JournaledDeploy | undefined> {
    const sql = "SELECT state, moved_bytes, probe_answer FROM host_operations WHERE execution_id = ?";
    const [row] = await database.query<Row>(sql, [executionId]);
    if (row === undefined) return undefined;
    const state = JSON.parse(row.state) as DeployState;
    return { state, movedBytes: row.moved_bytes, probeAnswer: row.probe_answer };
  }

  /** Operations on one target are begun one after another, so nothing comes between this and the entry. */
  async function checkEpoch({ executionId, epoch }: Assign, { environment, app }: Target): Promise<void> {
    const sql = "SELECT term, number FROM host_operation_fences WHERE environment = ? AND app = ?";
    const [fence] = await database.query<{ term: number; number: number }>(sql, [environment, app]);
    const { term, number } = epochOf(epoch);
    if (fence === undefined || term > fence.term || (term === fence.term && number > fence.number)) return;
    throw new MillraceError(
      "failed_precondition",
      `${executionId} has the epoch ${term}.${number}, and on this host ${fence.term}.${fence.number} of ${app} in ` +
        `${environment} was begun already: it came late, or the coordinator was set back to an earlier state`,
    );
  }

  return {
    async begin(message, target) {
      if ((await entryOf(message.executionId)) === undefined) await checkEpoch(message, target);
      const assign = toBinary(AssignSchema, message);
      const sql = `INSERT INTO host_operations (execution_id, assign, step, state, moved_bytes, probe_answer)
                   VALUES (?, ?, ?, ?, 0, '') ON CONFLICT (execution_id) DO UPDATE SET assign = excluded.assign`;
      const params = [message.executionId, assign, firstState.step, JSON.stringify(firstState)];
      await database.write([{ sql, params }, raiseFence(message, target)]);
      return (await entryOf(message.executionId)) ?? { state: firstState, movedBytes: 0, probeAnswer: "" };
    },
    async takeOver(message, target) {
      const sql = "UPDATE host_operations SET assign = ? WHERE execution_id = ?";
      const params = [toBinary(AssignSchema, message), message.executionId];
      await database.write([{ sql, params }, raiseFence(message, target)]);
    },
    async save(executionId, entry) {
      await database.write([update(executionId, entry)]);
    },
    async finish(executionId, entry, { environment, app }, verified) {
      const sql = "INSERT OR REPLACE INTO verified_releases (environment, app, release) VALUES (?, ?, ?)";
      const params = [environment, app, JSON.stringify(verified)];
      await database.write([update(executionId, entry), ...(verified === undefined ? [] : [{ sql, params }])]);
    },
    async verified({ environment, app }) {
      const sql = "SELECT release FROM verified_releases WHERE environment = ? AND app = ?";
      const [row] = await database.query<{ release: string }>(sql, [environment, app]);
      return row === undefined ? undefined : (JSON.parse(row.release) as Release);
    },
    async unreported() {
      const rows = await database.query<{ assign: Uint8Array }>("SELECT assign FROM host_operations ORDER BY rowid");
      return rows.map(({ assign }) => fromBinary(AssignSchema, assign));
    },
    async reported(executionId) {
      await database.write([{ sql: "DELETE FROM host_operations WHERE execution_id = ?", params: [executionId] }]);
    },
  };
}

function update(executionId: string, { state, movedBytes, probeAnswer }: JournaledDeploy) {
  const sql =
    "UPDATE host_operations SET step = ?, state = ?, moved_bytes = ?, probe_answer = ? WHERE execution_id = ?";
  return { sql, params: [state.step, JSON.stringify(state), movedBytes, probeAnswer, executionId] };
}

function raiseFence({ epoch }: Assign, { environment, app }: Target) {
  const sql = `INSERT INTO host_operation_fences (environment, app, term, number) VALUES (?, ?, ?, ?)
               ON CONFLICT (environment, app) DO UPDATE SET term = excluded.term, number = excluded.number
               WHERE (excluded.term, excluded.number) > (term, number)`;
  const { term, number } = epochOf(epoch);
  return { sql, params: [environment, app, term, number] };
}

function epochOf(epoch: Assign["epoch"]): { term: number; number: number } {
  return { term: Number(epoch?.term ?? 0n), number: Number(epoch?.number ?? 0n) };
}

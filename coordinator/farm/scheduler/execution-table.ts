import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ActionSchema, CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  HostOperationSchema,
  NamedCachesSchema,
  type Report,
  ReportSchema,
  TaskSecretsSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { digestKey, parseDigestKey } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import type { SchemaPart, Sqlite, Statement } from "../../../shared/sqlite/sqlite.ts";
import type { LogName } from "../logs/log-store.ts";
import { packed } from "./packed-request.ts";
import type { ExecutionRequest } from "./scheduler.ts";

/** Fences an attempt; ordered by term, then number. */
export interface Epoch {
  readonly term: number;
  readonly number: number;
}

/** The right of one agent to run one attempt of one execution. */
export interface Lease {
  readonly agentId: string;
  readonly epoch: Epoch;
  readonly attempt: number;
}

/** How the execution that a request waits for stands. */
export interface Standing {
  /** The id of the execution: the request's own, or that of the request it was merged with. */
  readonly runsAs: string;
  /** Attempts so far, the leased one included. */
  readonly attempts: number;
  readonly lease: Lease | undefined;
  /** The report that counted, when it has finished. */
  readonly outcome: Report | undefined;
}

export interface StoredExecution extends Standing {
  readonly request: ExecutionRequest;
}

/**
 * Requests on disk, a row each, so that a restart loses none and runs none twice. Those that share an execution say so in
 * each row and are changed together: none of them needs another one's row. Writes take effect in the order of the calls.
 */
export interface ExecutionTable {
  load(): Promise<StoredExecution[]>;
  insert(request: ExecutionRequest, standing: Standing): Promise<void>;
  /** Of all requests that share the execution; undefined takes the lease back. Who was given which attempt stays known. */
  lease(ids: readonly string[], attempts: number, lease: Lease | undefined): Promise<void>;
  finish(ids: readonly string[], outcome: Report): Promise<void>;
  remove(id: string): Promise<void>;
}

export const executionSchema: SchemaPart = {
  name: "executions",
  migrations: [
    `CREATE TABLE execution (
     id TEXT PRIMARY KEY,
     action_digest TEXT NOT NULL,
     action BLOB NOT NULL,
     command BLOB NOT NULL,
     priority INTEGER NOT NULL,
     fair_group TEXT NOT NULL,
     environment TEXT NOT NULL,
     attempts INTEGER NOT NULL DEFAULT 0,
     agent TEXT,
     term INTEGER,
     number INTEGER,
     outcome BLOB
   ) STRICT`,
    "CREATE TABLE term (current INTEGER NOT NULL) STRICT",
    "INSERT INTO term (current) VALUES (0)",
    "ALTER TABLE execution ADD COLUMN runs_as TEXT",
    "ALTER TABLE execution ADD COLUMN host_operation BLOB",
    "ALTER TABLE execution ADD COLUMN named_caches BLOB",
    // Outlives its execution: an agent that was lost brings the output of its attempt late.
    `CREATE TABLE placement (
     number INTEGER PRIMARY KEY,
     execution TEXT NOT NULL,
     attempt INTEGER NOT NULL,
     agent TEXT NOT NULL,
     UNIQUE (execution, attempt)
   ) STRICT;
   INSERT OR IGNORE INTO placement (execution, attempt, agent)
     SELECT COALESCE(runs_as, id), attempts, agent FROM execution WHERE agent IS NOT NULL`,
    "ALTER TABLE execution ADD COLUMN at_most_once INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE execution ADD COLUMN avoid_agents TEXT",
    "ALTER TABLE execution ADD COLUMN attempts_max INTEGER",
    // Names, never a value.
    "ALTER TABLE execution ADD COLUMN secrets BLOB",
  ],
};

interface Row {
  id: string;
  action_digest: string;
  action: Uint8Array;
  command: Uint8Array;
  priority: number;
  fair_group: string;
  environment: string;
  host_operation: Uint8Array | null;
  named_caches: Uint8Array | null;
  at_most_once: number;
  avoid_agents: string | null;
  attempts_max: number | null;
  secrets: Uint8Array | null;
  attempts: number;
  agent: string | null;
  term: number | null;
  number: number | null;
  outcome: Uint8Array | null;
  /** Null in rows from before executions were merged. */
  runs_as: string | null;
}

/** A term that no start of this coordinator has had: the first half of every epoch it gives out. */
export async function nextTerm(sqlite: Sqlite): Promise<number> {
  await sqlite.write([{ sql: "UPDATE term SET current = current + 1" }]);
  const rows = await sqlite.query<{ current: number }>("SELECT current FROM term");
  return rows[0]?.current ?? 1;
}

export function sqliteExecutionTable(sqlite: Sqlite): ExecutionTable {
  return {
    async load() {
      const rows = await sqlite.query<Row>("SELECT * FROM execution ORDER BY rowid");
      return rows.map(fromRow);
    },
    async insert(request, { runsAs, attempts, lease, outcome }) {
      // It is of whoever waits for it, and after a restart nobody does. The agent that has it is told to end it.
      if (request.sourceImport !== undefined) return;
      const { action, command } = packed(request).encoded();
      await sqlite.write([
        {
          sql: `INSERT INTO execution (id, action_digest, action, command, priority, fair_group, environment,
                  runs_as, attempts, agent, term, number, outcome, host_operation, named_caches,
                  at_most_once, avoid_agents, attempts_max, secrets)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
          params: [
            request.id,
            digestKey(request.actionDigest),
            action,
            command,
            request.priority,
            request.fairGroup,
            JSON.stringify(request.volatileEnvironment),
            runsAs,
            attempts,
            ...leaseColumns(lease),
            outcome === undefined ? null : toBinary(ReportSchema, outcome),
            request.hostOperation === undefined ? null : toBinary(HostOperationSchema, request.hostOperation),
            request.namedCaches === undefined ? null : toBinary(NamedCachesSchema, request.namedCaches),
            request.atMostOnce === true ? 1 : 0,
            request.avoidAgents === undefined ? null : JSON.stringify(request.avoidAgents),
            request.attemptsMax ?? null,
            request.secrets === undefined ? null : toBinary(TaskSecretsSchema, request.secrets),
          ],
        },
      ]);
    },
    async lease(ids, attempts, lease) {
      const sql = "UPDATE execution SET attempts = ?, agent = ?, term = ?, number = ? WHERE id = ?";
      const rows = ids.map((id) => ({ sql, params: [attempts, ...leaseColumns(lease), id] }));
      await sqlite.write([...rows, ...placing(ids, lease)]);
    },
    async finish(ids, outcome) {
      const sql = "UPDATE execution SET outcome = ? WHERE id = ?";
      const report = toBinary(ReportSchema, outcome);
      await sqlite.write(ids.map((id) => ({ sql, params: [report, id] })));
    },
    async remove(id) {
      await sqlite.write([{ sql: "DELETE FROM execution WHERE id = ?", params: [id] }]);
    },
  };
}

/** An attempt that an agent refused is another one's under the same number: the last one counts. */
function placing([id]: readonly string[], lease: Lease | undefined): Statement[] {
  if (id === undefined || lease === undefined) return [];
  const sql = `INSERT OR REPLACE INTO placement (execution, attempt, agent)
               SELECT COALESCE(runs_as, id), ?, ? FROM execution WHERE id = ?`;
  const place = { sql, params: [lease.attempt, lease.agentId, id] };
  if (lease.epoch.number % limits.placementsSwept !== 0) return [place];
  const old = "DELETE FROM placement WHERE number <= (SELECT MAX(number) FROM placement) - ?";
  return [place, { sql: old, params: [limits.placementsKept] }];
}

/** The agent that was given this attempt last; undefined when nobody was, or too long ago. */
export async function placedOn(sqlite: Pick<Sqlite, "query">, { executionId, attempt }: LogName) {
  const sql = "SELECT agent FROM placement WHERE execution = ? AND attempt = ?";
  const [row] = await sqlite.query<{ agent: string }>(sql, [executionId, attempt]);
  return row?.agent;
}

/** Agent, term, number. */
function leaseColumns(lease: Lease | undefined): [string | null, number | null, number | null] {
  return lease === undefined ? [null, null, null] : [lease.agentId, lease.epoch.term, lease.epoch.number];
}

function fromRow(row: Row): StoredExecution {
  const leased = row.agent !== null && row.term !== null && row.number !== null;
  return {
    request: {
      id: row.id,
      actionDigest: parseDigestKey(row.action_digest),
      action: fromBinary(ActionSchema, row.action),
      command: fromBinary(CommandSchema, row.command),
      priority: row.priority,
      fairGroup: row.fair_group,
      volatileEnvironment: JSON.parse(row.environment) as Record<string, string>,
      ...(row.host_operation === null ? {} : { hostOperation: fromBinary(HostOperationSchema, row.host_operation) }),
      ...(row.named_caches === null ? {} : { namedCaches: fromBinary(NamedCachesSchema, row.named_caches) }),
      ...(row.at_most_once === 1 ? { atMostOnce: true } : {}),
      ...(row.avoid_agents === null ? {} : { avoidAgents: JSON.parse(row.avoid_agents) as string[] }),
      ...(row.attempts_max === null ? {} : { attemptsMax: row.attempts_max }),
      ...(row.secrets === null ? {} : { secrets: fromBinary(TaskSecretsSchema, row.secrets) }),
    },
    runsAs: row.runs_as ?? row.id,
    attempts: row.attempts,
    lease: leased
      ? {
          agentId: row.agent ?? "",
          epoch: { term: row.term ?? 0, number: row.number ?? 0 },
          attempt: row.attempts,
        }
      : undefined,
    outcome: row.outcome === null ? undefined : fromBinary(ReportSchema, row.outcome),
  };
}

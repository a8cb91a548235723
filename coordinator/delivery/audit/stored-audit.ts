import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { AuditFaultSchema, type AuditRecord, AuditRecordSchema } from "../../../proto/gen/millrace/v1/audit_pb.ts";
import { CommitSchema, type Event } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import { type EventStore, emptyStream, type StreamToken } from "../../store/event-store.ts";
import type { StreamKeeping } from "../../store/stream-keeping.ts";
import { chainCheck, linkOf, recordAfter } from "./audit-chain.ts";
import type { AuditedCall, AuditLog, AuditPage, AuditSelection, AuditVerdict, ChainLink } from "./audit-log.ts";

/** The last link, outside the chain: without it nobody would see that the last record was changed, or left out. */
export const auditSchema: SchemaPart = {
  name: "audit",
  migrations: ["CREATE TABLE audit_head (sequence INTEGER NOT NULL, hash TEXT NOT NULL) STRICT"],
};

export interface StoredAuditDeps {
  readonly sqlite: Sqlite;
  readonly store: Pick<EventStore, "append" | "read"> & Pick<StreamKeeping, "streams">;
  readonly clock: Clock;
  /** Told when records could not be written; their callers are as well. */
  readonly onError: (error: unknown) => void;
}

interface Pending {
  readonly call: AuditedCall;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** Where the chain goes on, and how its last stream stands. */
interface End {
  readonly head: ChainLink | undefined;
  readonly token: StreamToken;
}

/**
 * The chain as streams `audit/<number>` of `limits.auditSegment` records each, so that no read holds all of it. They are
 * never retired: retention ends runs, and not the record of who ended them.
 */
export function storedAudit({ sqlite, store, clock, onError }: StoredAuditDeps): AuditLog {
  const pending: Pending[] = [];
  let isBusy = false;
  /** Undefined: it has to be read before anything is appended. */
  let end: End | undefined;

  async function noted(): Promise<ChainLink | undefined> {
    return (await sqlite.query<ChainLink>("SELECT sequence, hash FROM audit_head"))[0];
  }

  /**
   * What was noted counts for more than what is there: after a record that was changed, the next one still names the hash
   * that it had, and after one that was taken away its number stays free. So neither is ever covered up.
   */
  async function readEnd(): Promise<End> {
    const last = (await store.streams(prefix)).at(-1);
    const { commits, token } = last === undefined ? { commits: [], token: emptyStream } : await store.read(last);
    const event = commits.at(-1)?.commit.events.at(-1);
    const there = event === undefined ? undefined : linkOf(event);
    const known = await noted();
    const head = known !== undefined && known.sequence >= (there?.sequence ?? 0) ? known : there;
    if (last === undefined || last === streamOf((head?.sequence ?? 0) + 1)) return { head, token };
    return { head, token: (await store.read(streamOf((head?.sequence ?? 0) + 1))).token };
  }

  async function drain(): Promise<void> {
    isBusy = true;
    while (pending.length > 0) {
      let batch: readonly Pending[] = [];
      try {
        end ??= await readEnd();
        const room = limits.auditSegment - ((end.head?.sequence ?? 0) % limits.auditSegment);
        batch = pending.splice(0, Math.min(room, limits.auditBatch));
        end = await write(end, batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        end = undefined;
        const failure = from(error, "writing the audit");
        onError(failure);
        for (const { reject } of batch.length > 0 ? batch : pending.splice(0)) reject(failure);
      }
    }
    isBusy = false;
  }

  async function write({ head, token }: End, batch: readonly Pending[]): Promise<End> {
    const stream = streamOf((head?.sequence ?? 0) + 1);
    const events: Event[] = [];
    let last = head;
    for (const { call } of batch) {
      const event = recordAfter(last, call, clock.nowMs());
      events.push(event);
      last = linkOf(event);
    }
    const expected = stream === streamOf(head?.sequence ?? 0) || head === undefined ? token : emptyStream;
    const next = await store.append(stream, expected, create(CommitSchema, { events }));
    const { sequence = 0, hash = "" } = last ?? {};
    // Nobody waits for it: after a crash it is a little behind, and never ahead.
    sqlite
      .write([
        { sql: "DELETE FROM audit_head" },
        { sql: "INSERT INTO audit_head (sequence, hash) VALUES (?, ?)", params: [sequence, hash] },
      ])
      .catch(onError);
    return { head: last, token: next };
  }

  return {
    record: (call) =>
      new Promise((resolve, reject) => {
        if (pending.length >= limits.auditPending) {
          return reject(new MillraceError("resource_exhausted", "too many calls wait for the audit: try again"));
        }
        pending.push({ call, resolve, reject });
        if (!isBusy) void drain();
      }),

    async page(selection) {
      const streams = (await store.streams(prefix)).toReversed();
      return await pageOf(selection, streams, async (stream) => eventsOf(await store.read(stream)));
    },

    async verify(expected) {
      const known = await noted();
      const check = chainCheck([known, expected].filter((link) => link !== undefined));
      for (const stream of await store.streams(prefix)) {
        try {
          for (const event of eventsOf(await store.read(stream))) check.add(event);
        } catch (error) {
          return unreadable(check.end(), error);
        }
      }
      return check.end();
    },
  };
}

const prefix = "audit/";

/** Names of streams sort as text. */
function streamOf(sequence: number): string {
  return prefix + String(Math.ceil(sequence / limits.auditSegment)).padStart(10, "0");
}

function eventsOf({ commits }: Awaited<ReturnType<EventStore["read"]>>): Event[] {
  return commits.flatMap(({ commit }) => commit.events);
}

async function pageOf(
  { before = Number.MAX_SAFE_INTEGER, sinceMs = 0, project, limit }: AuditSelection,
  streams: readonly string[],
  read: (stream: string) => Promise<readonly Event[]>,
): Promise<AuditPage> {
  const records: AuditRecord[] = [];
  let streamsRead = 0;
  let reached = before;
  for (const stream of streams.filter((name) => before > 1 && name <= streamOf(before - 1))) {
    if (streamsRead >= limits.auditPageSegments) return { records, next: reached };
    streamsRead += 1;
    for (const event of (await read(stream)).toReversed()) {
      const record = recordOf(event);
      if (record === undefined || record.sequence >= BigInt(before)) continue;
      if (event.time === undefined || timestampMs(event.time) < sinceMs) return { records, next: undefined };
      if (records.length >= limit) return { records, next: reached };
      reached = Number(record.sequence);
      if (project === undefined || record.project === project) records.push(record);
    }
  }
  return { records, next: undefined };
}

function recordOf({ kind, time, principal, project }: Event): AuditRecord | undefined {
  if (kind.case !== "callAudited") return undefined;
  const { sequence, method, target, outcome, detail } = kind.value;
  const at = time === undefined ? {} : { time };
  return create(AuditRecordSchema, { sequence, principal, project, method, target, outcome, detail, ...at });
}

/** What cannot be read was changed, too; the store says which commit it is. */
function unreadable(verdict: AuditVerdict, error: unknown): AuditVerdict {
  const failure = from(error, "reading the audit");
  if (failure.code !== "data_loss") throw failure;
  const sequence = BigInt((verdict.head?.sequence ?? 0) + 1);
  const reason = `or one of those after it cannot be read: ${failure.message}`;
  return { ...verdict, fault: create(AuditFaultSchema, { sequence, reason }) };
}

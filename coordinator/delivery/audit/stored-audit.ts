import { setImmediate } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import {
  type AuditFault,
  type AuditRecord,
  AuditRecordSchema,
  AuditService,
} from "../../../proto/gen/millrace/v1/audit_pb.ts";
import { CommitSchema, type Event } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import { type EventStore, emptyStream, type StoredCommit, type StreamToken } from "../../store/event-store.ts";
import type { StreamKeeping } from "../../store/stream-keeping.ts";
import { type ChainCheck, chainCheck, linkOf, recordAfter } from "./audit-chain.ts";
import type { AuditedCall, AuditLog, AuditPage, AuditSelection, ChainEnd, ChainLink } from "./audit-log.ts";

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
  readonly head: ChainEnd | undefined;
  readonly token: StreamToken;
}

/**
 * The chain as streams `audit/<number>` of `limits.auditSegment` records each, so that no read holds all of it. They are
 * never retired: retention ends runs, and not the record of who ended them.
 *
 * Before it goes on, the last stream is read and checked. What is broken in it is told to `onError` and stands in the chain
 * from then on, as a mark; it is neither repaired nor left out, and stops nothing.
 */
export function storedAudit({ sqlite, store, clock, onError }: StoredAuditDeps): AuditLog & Component {
  const pending: Pending[] = [];
  let draining: Promise<void> | undefined;
  /** Undefined: it has to be read before anything is appended. */
  let end: End | undefined;

  async function noted(): Promise<ChainLink | undefined> {
    return (await sqlite.query<ChainLink>("SELECT sequence, hash FROM audit_head"))[0];
  }

  /**
   * What was noted counts for more than what is there: after a record that was changed, the next one still names the hash
   * that it had, and after one that was taken away its number stays free. So neither is ever covered up.
   */
  async function readEnd(): Promise<End & { readonly broken: readonly AuditFault[] }> {
    const last = (await store.streams(prefix)).at(-1);
    const after = last === undefined ? 0 : firstOf(last) - 1;
    const { commits, token } = last === undefined ? { commits: [], token: emptyStream } : await store.read(last);
    const known = await noted();
    const check = chainCheck({ known: known === undefined || known.sequence <= after ? [] : [known], after });
    await addAll(check, commits);
    const { head: there, faults, marked } = check.end();
    const broken = faults.filter(({ sequence }) => !marked.has(Number(sequence)));
    const head = known !== undefined && known.sequence >= (there?.sequence ?? 0) ? known : there;
    if (last === undefined || last === streamOf((head?.sequence ?? 0) + 1)) return { head, token, broken };
    return { head, token: (await store.read(streamOf((head?.sequence ?? 0) + 1))).token, broken };
  }

  /** Finds where the chain goes on. What is broken there is said, and marked before anything else is written. */
  async function find(): Promise<End> {
    const { broken, ...found } = await readEnd();
    for (const fault of broken)
      onError(new MillraceError("data_loss", `the audit: ${describeFault(fault)}; see \`millrace audit verify\``));
    if (broken.length > 0) pending.unshift({ call: markOf(broken), resolve: () => undefined, reject: () => undefined });
    return found;
  }

  async function drain(): Promise<void> {
    do {
      let batch: readonly Pending[] = [];
      try {
        end ??= await find();
        const room = limits.auditSegment - ((end.head?.sequence ?? 0) % limits.auditSegment);
        batch = pending.splice(0, Math.min(room, limits.auditBatch));
        if (batch.length > 0) end = await write(end, batch);
        for (const { resolve } of batch) resolve();
      } catch (error) {
        end = undefined;
        const failure = from(error, "writing the audit");
        onError(failure);
        for (const { reject } of batch.length > 0 ? batch : pending.splice(0)) reject(failure);
      }
    } while (pending.length > 0);
    draining = undefined;
  }

  async function write({ head, token }: End, batch: readonly Pending[]): Promise<End> {
    const stream = streamOf((head?.sequence ?? 0) + 1);
    const events: Event[] = [];
    let last: ChainEnd | undefined = head;
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
    name: "audit",

    /** Looks whether the chain is whole where it goes on. Nobody waits for it: calls wait for their records anyway. */
    async start() {
      draining ??= drain();
    },

    async stop() {
      await draining;
    },

    record: (call) =>
      new Promise((resolve, reject) => {
        if (pending.length >= limits.auditPending) {
          return reject(new MillraceError("resource_exhausted", "too many calls wait for the audit: try again"));
        }
        pending.push({ call, resolve, reject });
        draining ??= drain();
      }),

    async page(selection) {
      const streams = (await store.streams(prefix)).toReversed();
      return await pageOf(selection, streams, async (stream) => recordsOf(stream, (await store.read(stream)).commits));
    },

    async verify(expected) {
      const known = await noted();
      const check = chainCheck({ known: [known, expected].filter((link) => link !== undefined), after: 0 });
      for (const stream of await store.streams(prefix)) {
        await addAll(check, (await store.read(stream)).commits);
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

/** The sequence of the first record of a stream. */
function firstOf(stream: string): number {
  return (Number(stream.slice(prefix.length)) - 1) * limits.auditSegment + 1;
}

/** The events of a commit, or why nobody can know them. @throws MillraceError when it could not be read at this moment */
function eventsOf(stored: StoredCommit): { readonly events: readonly Event[] } | { readonly unreadable: string } {
  try {
    return { events: stored.commit.events };
  } catch (error) {
    const failure = from(error);
    if (failure.code !== "data_loss") throw from(error, "reading the audit");
    return { unreadable: `${from(failure.cause).message} (position ${stored.position} of the event log)` };
  }
}

function countOf({ firstSequence, lastSequence }: StoredCommit): number {
  return lastSequence - firstSequence + 1;
}

/** Others have their turn between: decoding and hashing 10,000 records takes a few tenths of a second. */
async function addAll(check: ChainCheck, commits: readonly StoredCommit[]): Promise<void> {
  let added = 0;
  for (const stored of commits) {
    const found = eventsOf(stored);
    if ("unreadable" in found) check.addUnreadable(countOf(stored), found.unreadable);
    else for (const event of found.events) check.add(event);
    added += countOf(stored);
    if (added < limits.auditBatch) continue;
    added = 0;
    await setImmediate();
  }
}

async function pageOf(
  { before = Number.MAX_SAFE_INTEGER, sinceMs = 0, project, limit }: AuditSelection,
  streams: readonly string[],
  read: (stream: string) => Promise<readonly AuditRecord[]>,
): Promise<AuditPage> {
  const records: AuditRecord[] = [];
  let streamsRead = 0;
  let reached = before;
  for (const stream of streams.filter((name) => before > 1 && name <= streamOf(before - 1))) {
    if (streamsRead >= limits.auditPageSegments) return { records, next: reached };
    streamsRead += 1;
    for (const record of (await read(stream)).toReversed()) {
      if (record.sequence >= BigInt(before)) continue;
      // Of when one was that cannot be decoded, nobody knows.
      if (record.time !== undefined && timestampMs(record.time) < sinceMs) return { records, next: undefined };
      if (records.length >= limit) return { records, next: reached };
      reached = Number(record.sequence);
      if (project === undefined || record.project === project) records.push(record);
    }
  }
  return { records, next: undefined };
}

/** What cannot be decoded stands in its place, as one record. */
function recordsOf(stream: string, commits: readonly StoredCommit[]): AuditRecord[] {
  const records: AuditRecord[] = [];
  let next = BigInt(firstOf(stream));
  for (const stored of commits) {
    const found = eventsOf(stored);
    if ("unreadable" in found) {
      const detail = describeFault({ sequence: next, reason: `cannot be decoded: ${found.unreadable}` });
      records.push(create(AuditRecordSchema, { sequence: next, outcome: "data_loss", detail }));
      next += BigInt(countOf(stored));
      continue;
    }
    const readable = found.events.flatMap((event) => recordOf(event) ?? []);
    records.push(...readable);
    next = (readable.at(-1)?.sequence ?? next) + 1n;
  }
  return records;
}

function recordOf({ kind, time, principal, project }: Event): AuditRecord | undefined {
  if (kind.case !== "callAudited") return undefined;
  const { sequence, method, target, outcome, detail } = kind.value;
  const at = time === undefined ? {} : { time };
  return create(AuditRecordSchema, { sequence, principal, project, method, target, outcome, detail, ...at });
}

/** The record that says from which ones on the chain is not as it was written. */
function markOf(broken: readonly AuditFault[]): AuditedCall {
  const sequences = broken.map(({ sequence }) => Number(sequence));
  return {
    ...{ principal: "system:audit", project: "", traceparent: "", outcome: "data_loss", broken: sequences },
    method: `${AuditService.typeName}/${AuditService.method.verifyAudit.name}`,
    target: `record${sequences.length === 1 ? "" : "s"} ${sequences.join(", ")}`,
    detail: broken.map(describeFault).join("; "),
  };
}

function describeFault({ sequence, reason }: Pick<AuditFault, "sequence" | "reason">): string {
  return `record ${sequence} ${reason}`;
}

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { ActionResultSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type HeldExecution,
  HeldExecutionSchema,
  type Report,
  ReportOutcome,
  ReportReplySchema,
  ReportSchema,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, EndingSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { Sqlite } from "../../shared/sqlite/sqlite.ts";
import { type Backoff, backoff } from "../retry.ts";

/** Sends one report; the answer is a ReportReply. Throws while the coordinator cannot be reached. */
export type SendReport = (report: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>;

/** Reports that the coordinator has not answered. They are on disk before they are sent, and outlive the agent. */
export interface Outbox {
  /**
   * Resolves when the report is on disk; sending goes on behind. When the disk refuses it throws, unless `evenUnsaved`:
   * then the report is sent all the same, and only the end of the agent before the answer would lose it.
   */
  put(report: Report, options?: { readonly evenUnsaved: boolean }): Promise<void>;
  /** For heartbeats. */
  held(): HeldExecution[];
  /** The coordinator seems to be there (again): sends everything now. */
  kick(): void;
  /** Resolves when it is empty, or the signal aborts. */
  empty(signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface OutboxOptions {
  readonly database: Pick<Sqlite, "write" | "query">;
  readonly send: SendReport;
  readonly clock: Clock;
  /** Told after each report that was answered. */
  readonly onChange: () => void;
  readonly onError: (error: MillraceError) => void;
}

interface Entry {
  readonly executionId: string;
  readonly attempt: number;
  readonly held: HeldExecution;
  readonly bytes: Uint8Array;
}

/** Opens with what an earlier start of the agent left, which is sent at the first `kick`. */
export async function openOutbox(options: OutboxOptions): Promise<Outbox> {
  const { database, send, clock, onChange, onError } = options;
  /** In order of arrival. Bounded by the slots: a slot is free again only when its report is here, and is refilled only by a coordinator that takes reports. */
  const entries = new Map<string, Entry>();
  const sending = new Map<string, Promise<void>>();
  const closing = new AbortController();
  let kicked = new AbortController();
  const emptied = new Set<() => void>();

  async function deliver(key: string, entry: Entry): Promise<void> {
    const pauses = backoff(clock);
    while (!closing.signal.aborted) {
      const outcome = await ask(entry);
      if (outcome === ReportOutcome.ACCEPTED || outcome === ReportOutcome.FENCED) {
        if (outcome === ReportOutcome.FENCED) onError(tooLate(entry));
        await remove(entry);
        entries.delete(key);
        if (entries.size === 0) for (const tell of emptied) tell();
        onChange();
        return;
      }
      await pauseOrKick(pauses);
    }
  }

  async function ask(entry: Entry): Promise<ReportOutcome | undefined> {
    try {
      return fromBinary(ReportReplySchema, await send(entry.bytes, closing.signal)).outcome;
    } catch (error) {
      if (!closing.signal.aborted) onError(from(error, `reporting ${entry.executionId}`));
      return undefined;
    }
  }

  async function pauseOrKick(pauses: Backoff): Promise<void> {
    await pauses.pause(AbortSignal.any([closing.signal, kicked.signal]));
  }

  async function remove({ executionId, attempt }: Entry): Promise<void> {
    const sql = "DELETE FROM outbox WHERE execution_id = ? AND attempt = ?";
    await database
      .write([{ sql, params: [executionId, attempt] }])
      .catch((error: unknown) => onError(from(error, "forgetting a report"))); // it is sent once more after a restart, and fenced
  }

  /** Keeps up to `outboxParallel` deliveries going. */
  function pump(): void {
    for (const [key, entry] of entries) {
      if (sending.size >= limits.outboxParallel || closing.signal.aborted) return;
      if (sending.has(key)) continue;
      const delivery = deliver(key, entry).finally(() => {
        sending.delete(key);
        pump();
      });
      sending.set(key, delivery);
    }
  }

  function add(report: Report, bytes: Uint8Array): void {
    const { executionId, attempt, epoch } = report;
    const held = create(HeldExecutionSchema, { executionId, ...(epoch === undefined ? {} : { epoch }) });
    entries.set(`${executionId}/${attempt}`, { executionId, attempt, held, bytes });
  }

  const rows = await database.query<{ report: Uint8Array }>("SELECT report FROM outbox ORDER BY execution_id, attempt");
  for (const { report } of rows) add(fromBinary(ReportSchema, report), report);

  return {
    async put(report, { evenUnsaved } = { evenUnsaved: false }) {
      const { bytes, sent } = fitting(report);
      const { executionId, attempt } = report;
      const sql = "INSERT OR REPLACE INTO outbox (execution_id, attempt, report) VALUES (?, ?, ?)";
      try {
        await database.write([{ sql, params: [executionId, attempt, bytes] }]);
      } catch (error) {
        const failure = from(error, `keeping the report on ${executionId}`);
        if (!evenUnsaved) throw failure;
        onError(failure);
      }
      add(sent, bytes);
      pump();
    },
    held: () => [...entries.values()].map(({ held }) => held),
    kick() {
      kicked.abort();
      kicked = new AbortController();
      pump();
    },
    empty(signal) {
      if (entries.size === 0 || signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        const done = () => {
          emptied.delete(done);
          signal.removeEventListener("abort", done);
          resolve();
        };
        emptied.add(done);
        signal.addEventListener("abort", done);
      });
    },
    async close() {
      closing.abort(new MillraceError("canceled", "the agent ends"));
      await Promise.all(sending.values());
    },
  };
}

/** Nothing to be done about it, but whoever looks for what this machine did finds here why it does not count. */
function tooLate({ executionId, attempt }: Entry): MillraceError {
  const message = `the report on ${executionId}, attempt ${attempt}, came too late and was refused: the farm had given it up`;
  return new MillraceError("aborted", message);
}

/** A report must fit into one message; one that does not becomes a failure that says so. */
function fitting(report: Report): { bytes: Uint8Array; sent: Report } {
  const bytes = toBinary(ReportSchema, report);
  if (bytes.byteLength <= limits.busMessageBytes) return { bytes, sent: report };
  const ending = create(EndingSchema, {
    kind: EndingKind.REFUSED,
    detail: `its result takes ${bytes.byteLength} bytes and ${limits.busMessageBytes} is the most: declare directories instead of many single outputs`,
  });
  const sent = create(ReportSchema, { ...report, ending, result: create(ActionResultSchema) });
  return { bytes: toBinary(ReportSchema, sent), sent };
}

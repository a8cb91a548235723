import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import { openAgentDatabase } from "../../../agent/database.ts";
import { openOutbox, type SendReport } from "../../../agent/outbox/outbox.ts";
import {
  type Report,
  ReportOutcome,
  ReportReplySchema,
  ReportSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { systemClock } from "../../../shared/clock.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { tempDir } from "../../support/temp-dir.ts";

const answer = (outcome: ReportOutcome) => toBinary(ReportReplySchema, create(ReportReplySchema, { outcome }));
const report = (executionId: string, init = {}) =>
  create(ReportSchema, { executionId, attempt: 1, epoch: { term: 1n, number: 1n }, ...init });

async function open(folder: string, send: SendReport, refuse = false) {
  const database = await openAgentDatabase({ path: join(folder, "agent.sqlite"), onError: () => {} });
  const full = {
    query: database.query,
    write: () => Promise.reject(new MillraceError("resource_exhausted", "the disk is full")),
  };
  const outbox = await openOutbox({
    database: refuse ? full : database,
    send,
    clock: systemClock,
    onChange: () => {},
    onError: () => {},
  });
  let closed = false;
  const close = async () => {
    if (closed) return;
    closed = true;
    await outbox.close();
    await database.close();
  };
  onTestFinished(close);
  return { outbox, close };
}

const forever = new AbortController().signal;

describe("the outbox", () => {
  test("holds a report until it is accepted or fenced", async () => {
    const sent: string[] = [];
    const { outbox } = await open(tempDir(), async (bytes) => {
      const { executionId } = fromBinary(ReportSchema, bytes);
      sent.push(executionId);
      if (sent.length < 3) throw new MillraceError("unavailable", "on purpose");
      return answer(executionId === "fenced" ? ReportOutcome.FENCED : ReportOutcome.ACCEPTED);
    });
    await outbox.put(report("accepted"));
    await outbox.put(report("fenced"));
    expect(outbox.held().map(({ executionId }) => executionId)).toEqual(["accepted", "fenced"]);
    await outbox.empty(forever);
    expect(outbox.held()).toEqual([]);
    expect(sent).toHaveLength(4);
  });

  test("keeps what was not answered for the next start, and forgets what was", async () => {
    const folder = tempDir();
    const first = await open(folder, async (bytes) => {
      if (fromBinary(ReportSchema, bytes).executionId === "kept") throw new MillraceError("unavailable", "on purpose");
      return answer(ReportOutcome.ACCEPTED);
    });
    await first.outbox.put(report("answered"));
    await first.outbox.empty(forever);
    await first.outbox.put(report("kept"));
    await first.close();
    const received: Report[] = [];
    const second = await open(folder, async (bytes) => {
      received.push(fromBinary(ReportSchema, bytes));
      return answer(ReportOutcome.ACCEPTED);
    });
    expect(second.outbox.held()).toMatchObject([{ executionId: "kept", epoch: { term: 1n, number: 1n } }]);
    expect(received).toEqual([]); // not before the farm was joined
    second.outbox.kick();
    await second.outbox.empty(forever);
    expect(received.map(({ executionId }) => executionId)).toEqual(["kept"]);
  });

  test("sends a report that the disk refuses where that is asked for, and else refuses it, too", async () => {
    const sent: string[] = [];
    const send: SendReport = async (bytes) => {
      sent.push(fromBinary(ReportSchema, bytes).executionId);
      return answer(ReportOutcome.ACCEPTED);
    };
    const { outbox } = await open(tempDir(), send, true);
    await outbox.put(report("sent"), { evenUnsaved: true });
    await outbox.empty(forever);
    await expect(outbox.put(report("refused"))).rejects.toMatchObject({ code: "resource_exhausted" });
    expect(outbox.held()).toEqual([]);
    expect(sent).toEqual(["sent"]);
  });

  test("turns a report that fits into no message into a failure that says so", async () => {
    const received: Report[] = [];
    const { outbox } = await open(tempDir(), async (bytes) => {
      expect(bytes.byteLength).toBeLessThan(limits.busMessageBytes);
      received.push(fromBinary(ReportSchema, bytes));
      return answer(ReportOutcome.ACCEPTED);
    });
    const outputFiles = Array.from({ length: 10_000 }, (_, index) => ({
      path: `a/rather/long/path/to/output/${index}`,
    }));
    await outbox.put(report("large", { ending: { kind: EndingKind.EXITED }, result: { outputFiles } }));
    await outbox.empty(forever);
    expect(received[0]?.ending?.kind).toBe(EndingKind.REFUSED);
    expect(received[0]?.ending?.detail).toContain("declare directories");
  });
});

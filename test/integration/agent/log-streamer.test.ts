import { appendFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import type { LogBounds } from "../../../agent/logs/attempt-log.ts";
import { logStreamer } from "../../../agent/logs/log-streamer.ts";
import { type GrpcServer, grpcServer, mounted } from "../../../coordinator/api/grpc/grpc-server.ts";
import { type AppendLogRequest, LogService } from "../../../proto/gen/millrace/v1/log_pb.ts";
import { systemClock } from "../../../shared/clock.ts";
import { limits } from "../../../shared/limits.ts";
import { grpcTransport } from "../../../shared/rpc/grpc-transport.ts";
import { tempDir } from "../../support/temp-dir.ts";

type Behaviour = (request: AppendLogRequest, count: number) => "store" | "break" | "forget" | "refuse";

/** A log service on a real socket that stores nothing and refuses what it is asked about one execution. */
async function refusing(executionId: string) {
  const stored = new Map<string, string>();
  let changed = () => {};
  const server = grpcServer([
    mounted(LogService, {
      async *appendLog(requests) {
        for await (const { executionId: id, attempt, offset, data, finish } of requests) {
          if (id === executionId) throw new ConnectError("not yours", Code.PermissionDenied);
          const text = (stored.get(id) ?? "").slice(0, Number(offset)) + Buffer.from(data).toString();
          stored.set(id, text);
          changed();
          yield { executionId: id, attempt, storedBytes: BigInt(text.length), finished: finish };
        }
      },
      async *readLog() {},
    }),
  ]);
  const transport = grpcTransport({ address: `127.0.0.1:${await server.listen("127.0.0.1", 0)}` });
  const client = createClient(LogService, transport);
  const streamer = logStreamer({ client, clock: systemClock, onError: () => {}, bounds: { flushMs: 5 } });
  onTestFinished(async () => {
    await streamer.close();
    transport.close();
    await server.close(0);
  });
  const folder = tempDir();
  return {
    async open(id: string) {
      const spool = join(folder, id);
      writeFileSync(spool, `of ${id}\n`);
      return await streamer.open({ executionId: id, attempt: 1 }, spool);
    },
    async stored(id: string) {
      while (!stored.has(id)) {
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
      return stored.get(id);
    },
  };
}

/** A log service on a real socket that stores, breaks or forgets as it is told. */
async function setup(behave: Behaviour, bounds: Partial<LogBounds> = {}, leftover?: { text: string; stored: string }) {
  let stored = Buffer.from(leftover?.stored ?? "");
  let sentBytes = 0;
  let endedInGap = false;
  let count = 0;
  let changed = () => {};
  const server: GrpcServer = grpcServer([
    mounted(LogService, {
      async *appendLog(requests) {
        for await (const request of requests) {
          const { executionId, attempt, offset, data, finish, gap } = request;
          const act = behave(request, ++count);
          if (act === "break") throw new ConnectError("on purpose", Code.Unavailable);
          if (act === "refuse") changed();
          if (act === "refuse") throw new ConnectError("never", Code.PermissionDenied);
          if (act === "forget") stored = stored.subarray(0, Math.floor(stored.byteLength / 2));
          else if (Number(offset) <= stored.byteLength)
            stored = Buffer.concat([stored.subarray(0, Number(offset)), data]);
          sentBytes += data.byteLength;
          endedInGap = finish && gap;
          const whole = finish && Number(offset) + data.byteLength === stored.byteLength;
          changed();
          yield { executionId, attempt, storedBytes: BigInt(stored.byteLength), finished: whole };
        }
      },
      async *readLog() {},
    }),
  ]);
  const port = await server.listen("127.0.0.1", 0);
  const transport = grpcTransport({ address: `127.0.0.1:${port}` });
  const streamer = logStreamer({
    client: createClient(LogService, transport),
    clock: systemClock,
    onError: () => {},
    bounds: { flushMs: 5, ...bounds },
  });
  onTestFinished(async () => {
    await streamer.close();
    transport.close();
    await server.close(0);
  });
  const spool = join(tempDir(), "spool");
  writeFileSync(spool, leftover?.text ?? "");
  const key = { executionId: "exe_1", attempt: 1 };
  return {
    spool,
    log: await (leftover === undefined ? streamer.open(key, spool) : streamer.openLeftover(key, spool)),
    stored: () => stored.toString(),
    sentBytes: () => sentBytes,
    endedInGap: () => endedInGap,
    requests: () => count,
    async until(condition: () => boolean) {
      while (!condition()) {
        await new Promise<void>((resolve) => {
          changed = resolve;
        });
      }
    },
  };
}

const numbers = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, index) => `${from + index}\n`).join("");

describe("a log on its way", () => {
  test("arrives while it is written, and whole at the end", async () => {
    const { spool, log, stored, until } = await setup(() => "store");
    appendFileSync(spool, "first\n");
    await until(() => stored() === "first\n");
    appendFileSync(spool, "second\n");
    expect(await log.finish()).toBe(13);
    expect(stored()).toBe("first\nsecond\n");
  });

  test("an empty one is finished too", async () => {
    const { log, stored } = await setup(() => "store");
    expect(await log.finish()).toBe(0);
    expect(stored()).toBe("");
  });

  test("survives a stream that breaks again and again", async () => {
    const { spool, log, stored } = await setup((_, count) => (count % 7 === 0 ? "break" : "store"), {
      chunkBytes: 1_000,
      inFlightBytes: 5_000,
    });
    appendFileSync(spool, numbers(0, 5_000));
    await log.finish();
    expect(stored()).toBe(numbers(0, 5_000));
  });

  test("goes back when the coordinator lost what it had", async () => {
    const { spool, log, stored } = await setup((_, count) => (count === 12 ? "forget" : "store"), {
      chunkBytes: 1_000,
    });
    appendFileSync(spool, numbers(0, 5_000));
    await log.finish();
    expect(stored()).toBe(numbers(0, 5_000));
  });

  test("ends with a marker when it reaches its bound", async () => {
    const { spool, log, stored } = await setup(() => "store", { maxBytes: 1_000, chunkBytes: 100 });
    appendFileSync(spool, "x".repeat(5_000));
    expect(await log.finish()).toBe(1_000);
    expect(stored()).toMatch(/^x+\nmillrace: the log was cut here: it reached its bound of 1000 bytes\n$/);
    expect(stored()).toHaveLength(1_000);
    expect(statSync(spool).size).toBe(1_000);
  });

  test("goes on behind what was read when the task truncates its own output", async () => {
    const { spool, log, stored, until } = await setup(() => "store");
    appendFileSync(spool, "before the cut\n");
    await until(() => stored() === "before the cut\n");
    truncateSync(spool, 0);
    appendFileSync(spool, "after\n");
    await log.finish();
    expect(stored()).toBe("before the cut\nafter\n");
  });

  test("is not given up while its task runs, however often it is refused", async () => {
    let refusing = true;
    const { spool, log, stored, requests, until } = await setup(() => (refusing ? "refuse" : "store"));
    appendFileSync(spool, "kept");
    await until(() => requests() > limits.logRefusals);
    refusing = false;
    await log.finish();
    expect(stored()).toBe("kept");
  });

  test("that an earlier start left goes on where the coordinator stands, and ends in a gap", async () => {
    const text = numbers(0, 50_000);
    const leftover = { text, stored: text.slice(0, 200_000) };
    const { log, stored, sentBytes, endedInGap } = await setup(
      (_, count) => (count === 3 ? "break" : "store"),
      { chunkBytes: 10_000, inFlightBytes: 20_000 },
      leftover,
    );
    expect(await log.finish()).toBe(text.length);
    expect(stored()).toBe(text);
    expect(endedInGap()).toBe(true);
    expect(sentBytes()).toBeLessThan(text.length - 150_000);
  });

  test("that an earlier start left and the coordinator has whole costs no byte", async () => {
    const { log, sentBytes, requests } = await setup(() => "store", {}, { text: "all\n", stored: "all\n" });
    expect(await log.finish()).toBe(4);
    expect([sentBytes(), requests()]).toEqual([0, 1]);
  });

  test("is given up when the coordinator keeps refusing it", async () => {
    const { spool, log } = await setup(() => "refuse");
    appendFileSync(spool, "unwanted");
    await expect(log.finish()).rejects.toMatchObject({ code: "permission_denied" });
  });

  test("that is refused fails alone: the others arrive, before it and after it", async () => {
    const { open } = await refusing("bad");
    const logs = await Promise.all(["a", "bad", "b", "c"].map(open));
    const ends = await Promise.allSettled(logs.map((log) => log.finish()));
    expect(ends.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
  });

  test("that is refused while its task runs does not hold up the others", async () => {
    const { open, stored } = await refusing("bad");
    await open("bad");
    for (const id of ["a", "b", "c"]) {
      await (await open(id)).finish();
      expect(await stored(id)).toBe(`of ${id}\n`);
    }
  });
});

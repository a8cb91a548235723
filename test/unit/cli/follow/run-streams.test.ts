import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { retryDelayMs } from "../../../../cli/follow/resumed.ts";
import { readRunLog, seenOutput, watchRun } from "../../../../cli/follow/run-streams.ts";
import { RunStatus, TaskStatus } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { LogService, ReadLogResponseSchema } from "../../../../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../../../../proto/gen/millrace/v1/run_pb.ts";
import { limits } from "../../../../shared/limits.ts";

const signal = new AbortController().signal;

describe("following a run over broken streams", () => {
  it("asks for events after the last one seen, and gives each once", async () => {
    const asked: bigint[] = [];
    const transport = createRouterTransport(({ service }) => {
      service(RunService, {
        async *watchRun({ afterSequence }) {
          asked.push(afterSequence);
          yield { sequence: afterSequence + 1n };
          if (afterSequence < 2n) throw new ConnectError("gone", Code.Unavailable);
          yield { sequence: afterSequence + 1n }; // A server that repeats itself is not believed.
          yield { sequence: afterSequence + 2n, event: { kind: { case: "runFinished", value: {} } } };
        },
      });
    });
    const seen: bigint[] = [];
    const interruptions: string[] = [];
    const options = { run: "run_1", signal, onInterruption: (error: Error) => void interruptions.push(error.message) };
    for await (const { sequence } of watchRun({ runs: createClient(RunService, transport) }, options))
      seen.push(sequence);
    expect(seen).toEqual([1n, 2n, 3n, 4n]);
    expect(asked).toEqual([0n, 1n, 2n]);
    expect(interruptions).toEqual(["gone", "gone"]);
  });

  it("does not take a polite end before the run's end for its end", async () => {
    let calls = 0;
    const transport = createRouterTransport(({ service }) => {
      service(RunService, {
        async *watchRun() {
          calls += 1;
          yield { sequence: 1n };
          if (calls === 2) yield { sequence: 2n, event: { kind: { case: "runFinished", value: {} } } };
        },
      });
    });
    const seen: bigint[] = [];
    const client = { runs: createClient(RunService, transport) };
    for await (const { sequence } of watchRun(client, { run: "run_1", signal })) seen.push(sequence);
    expect(seen).toEqual([1n, 2n]);
  });

  it("gives up at once what will not get better", async () => {
    const transport = createRouterTransport(({ service }) => {
      service(RunService, {
        async *watchRun({ run }) {
          if (run === "run_9") throw new ConnectError("no run_9", Code.NotFound);
          yield { sequence: 1n };
        },
      });
    });
    const events = watchRun({ runs: createClient(RunService, transport) }, { run: "run_9", signal });
    await expect(events.next()).rejects.toMatchObject({ code: "not_found" });
  });

  it("reads the log again and gives each byte once", async () => {
    let calls = 0;
    const text = "0123456789";
    const transport = createRouterTransport(({ service }) => {
      service(RunService, { getRun: () => ({ run: { status: RunStatus.SUCCEEDED } }) });
      service(LogService, {
        async *readLog() {
          calls += 1;
          const known = calls * 4;
          yield { task: "a/b", attempt: 1, offset: 0n, data: Buffer.from(text.slice(0, known)) };
          if (known < text.length) throw new ConnectError("gone", Code.Unavailable);
          yield { task: "a/b", attempt: 1, finish: true };
        },
      });
    });
    const connection = { runs: createClient(RunService, transport), logs: createClient(LogService, transport) };
    let got = "";
    for await (const { data } of readRunLog(connection, { run: "run_1", follow: true, signal })) {
      got += Buffer.from(data).toString();
    }
    expect(got).toBe(text);
    expect(calls).toBe(3);
  });

  it("follows a task over its attempts, and takes no end between them for the task's", async () => {
    let calls = 0;
    const transport = createRouterTransport(({ service }) => {
      service(RunService, {
        getRun() {
          const status = calls === 1 ? TaskStatus.RUNNING : TaskStatus.SUCCEEDED;
          return { run: { status: RunStatus.RUNNING, tasks: [{ stage: "a", name: "b", status }] } };
        },
      });
      service(LogService, {
        async *readLog() {
          calls += 1;
          yield { task: "a/b", attempt: 1, data: Buffer.from("on") };
          yield { task: "a/b", attempt: 1, finish: true, gap: true };
          if (calls === 1) return; // a coordinator that ends in good order
          yield { task: "a/b", attempt: 2, data: Buffer.from("one") };
          yield { task: "a/b", attempt: 2, finish: true };
        },
      });
    });
    const connection = { runs: createClient(RunService, transport), logs: createClient(LogService, transport) };
    const got: string[] = [];
    const options = { run: "run_1", task: "b", follow: true, signal };
    for await (const { attempt, data, finish, gap } of readRunLog(connection, options)) {
      const what = gap ? "gap" : finish ? "end" : Buffer.from(data).toString();
      got.push(`#${attempt} ${what}`);
    }
    expect(got).toEqual(["#1 on", "#1 gap", "#2 one", "#2 end"]);
  });

  it("pauses between a bound's half and the bound, longer each time", () => {
    expect(retryDelayMs(0, () => 0)).toBe(limits.reconnectPauseMs / 2);
    expect(retryDelayMs(3, () => 1)).toBe(limits.reconnectPauseMs * 8);
    expect(retryDelayMs(1_000, () => 1)).toBe(limits.reconnectPauseMaxMs);
  });
});

describe("output that was seen", () => {
  it("is skipped, whatever pieces it comes in", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 1, maxLength: 40 }),
        fc.array(fc.tuple(fc.nat(40), fc.nat(12))),
        (log, reads) => {
          const news = seenOutput();
          const got: number[] = [];
          // A reader always begins at or before what it has, as a stream that is opened again does.
          for (const [start, length] of [...reads, [0, 40] as const]) {
            const offset = Math.min(start, got.length);
            const data = log.subarray(offset, offset + length);
            const response = create(ReadLogResponseSchema, { task: "t", attempt: 1, offset: BigInt(offset), data });
            got.push(...(news(response)?.data ?? []));
          }
          expect(got).toEqual([...log]);
        },
      ),
    );
  });
});

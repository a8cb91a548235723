import { once } from "node:events";
import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { expect, onTestFinished, test } from "vitest";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import { LogService } from "../../../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { mountGrpc } from "../../../shared/rpc/grpc-mount.ts";
import { grpcTransport } from "../../../shared/rpc/grpc-transport.ts";

const unused = (): never => {
  throw new MillraceError("unimplemented", "not part of this test");
};
const runs: ServiceImpl<typeof RunService> = {
  submitRun: unused,
  submitRunWithProgress: unused,
  submitRunArchive: unused,
  evaluatePipeline: unused,
  getRun: unused,
  listRuns: unused,
  watchRun: unused,
  cancelRun: unused,
  retryRun: unused,
  pauseRun: unused,
  resumeRun: unused,
  skipTask: unused,
  commentRun: unused,
  listQueuePlaces: unused,
  decideGate: unused,
  withdrawVote: unused,
  addEvidence: unused,
  pinRun: unused,
  unpinRun: unused,
  downloadArtifact: unused,
};
const logs: ServiceImpl<typeof LogService> = { appendLog: unused, readLog: unused };

/** A real server on a real port with these handlers, and a client of it. */
async function serve(handlers: { runs?: Partial<typeof runs>; logs?: Partial<typeof logs> }) {
  const server = new Server();
  mountGrpc(server, RunService, { ...runs, ...handlers.runs });
  mountGrpc(server, LogService, { ...logs, ...handlers.logs });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const transport = grpcTransport({ address: `127.0.0.1:${port}`, token: "t0ken" });
  onTestFinished(() => {
    transport.close();
    server.forceShutdown();
  });
  return { runs: createClient(RunService, transport), logs: createClient(LogService, transport) };
}

test("a unary call carries its message, the token and the answer", async () => {
  let authorization: string | null = null;
  const client = await serve({
    runs: {
      getRun({ run }, { requestHeader }) {
        authorization = requestHeader.get("authorization");
        return { run: { name: run } };
      },
    },
  });
  expect((await client.runs.getRun({ run: "run_1" })).run?.name).toBe("run_1");
  expect(authorization).toBe("Bearer t0ken");
});

test("an error keeps its code, its message and its google.rpc details", async () => {
  const violation = { field: "millrace.yaml:3:5", description: "unknown key" };
  const client = await serve({
    runs: {
      getRun() {
        throw new MillraceError("invalid_argument", "wrong file", {
          details: [{ desc: BadRequestSchema, value: create(BadRequestSchema, { fieldViolations: [violation] }) }],
        });
      },
    },
  });
  const error = ConnectError.from(await client.runs.getRun({}).catch((caught: unknown) => caught));
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.rawMessage).toBe("wrong file");
  expect(error.findDetails(BadRequestSchema)[0]?.fieldViolations[0]).toMatchObject(violation);
});

test("a client stream gives its messages in order, and the answer comes after the last", async () => {
  const client = await serve({
    runs: {
      async submitRunArchive(messages) {
        let bytes = 0;
        for await (const { part } of messages) if (part.case === "chunk") bytes += part.value.byteLength;
        return { run: String(bytes) };
      },
    },
  });
  async function* parts() {
    for (let sent = 0; sent < 40; sent += 1) {
      yield { part: { case: "chunk", value: new Uint8Array(100_000) } } as const;
    }
  }
  expect((await client.runs.submitRunArchive(parts())).run).toBe("4000000");
});

test("a client stream whose source fails never looks like a whole one to the server", async () => {
  const begun = Promise.withResolvers<void>();
  const seen = Promise.withResolvers<string>();
  const client = await serve({
    runs: {
      async submitRunArchive(messages) {
        try {
          for await (const _ of messages) begun.resolve();
          seen.resolve("clean end");
        } catch (error) {
          seen.resolve(ConnectError.from(error).code === Code.Canceled ? "cut off" : String(error));
        }
        return {};
      },
    },
  });
  async function* broken() {
    yield { part: { case: "chunk", value: new Uint8Array(10) } } as const;
    await begun.promise;
    throw new Error("the disk went away");
  }
  await expect(client.runs.submitRunArchive(broken())).rejects.toThrow("the disk went away");
  expect(await seen.promise).toBe("cut off");
});

test("a server stream waits for a slow reader instead of filling memory", async () => {
  let sent = 0;
  const client = await serve({
    logs: {
      async *readLog() {
        for (; sent < 1_000; sent += 1) yield { data: new Uint8Array(60_000) };
      },
    },
  });
  const stop = new AbortController();
  for await (const _ of client.logs.readLog({}, { signal: stop.signal })) break;
  // The one message read, 16 of grpc-js's own, and what fits the window; far from all 60 MB.
  expect(sent).toBeLessThan(600);
  stop.abort();
});

test("a reader that aborts ends the handler", async () => {
  const { promise: ended, resolve } = Promise.withResolvers<void>();
  const client = await serve({
    logs: {
      async *readLog(_request, { signal }) {
        signal.addEventListener("abort", () => resolve());
        yield { data: new Uint8Array(1) };
        await once(signal, "abort");
      },
    },
  });
  const stop = new AbortController();
  const read = async (): Promise<void> => {
    for await (const _ of client.logs.readLog({}, { signal: stop.signal })) stop.abort();
  };
  await expect(read()).rejects.toMatchObject({ code: Code.Canceled });
  await ended;
});

test("a bidi handler may answer early, before its client has finished", async () => {
  const client = await serve({
    logs: {
      async *appendLog(requests) {
        for await (const { offset } of requests) {
          yield { storedBytes: offset };
          if (offset === 2n) return;
        }
      },
    },
  });
  const { promise: answered, resolve } = Promise.withResolvers<void>();
  async function* requests() {
    yield { offset: 1n };
    yield { offset: 2n };
    await answered;
  }
  const stored: bigint[] = [];
  for await (const { storedBytes } of client.logs.appendLog(requests())) stored.push(storedBytes);
  resolve();
  expect(stored).toEqual([1n, 2n]);
});

test("a deadline reaches the handler and comes back as deadline_exceeded", async () => {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const client = await serve({
    runs: {
      async getRun(_request, { signal }) {
        await once(signal, "abort");
        resolve();
        return {};
      },
    },
  });
  await expect(client.runs.getRun({}, { timeoutMs: 50 })).rejects.toMatchObject({ code: Code.DeadlineExceeded });
  await aborted;
});

test("a server that is not there is unavailable", async () => {
  const transport = grpcTransport({ address: "127.0.0.1:1" });
  onTestFinished(() => transport.close());
  const client = createClient(RunService, transport);
  await expect(client.getRun({})).rejects.toMatchObject({ code: Code.Unavailable });
});

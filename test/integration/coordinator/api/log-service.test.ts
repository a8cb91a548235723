import type { MessageInitShape } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { expect, onTestFinished, test } from "vitest";
import { logService } from "../../../../coordinator/api/grpc/log-service.ts";
import { guarded } from "../../../../coordinator/api/guard.ts";
import type { Runs } from "../../../../coordinator/delivery/run/runs.ts";
import { openFileLogStore } from "../../../../coordinator/farm/logs/file-log-store.ts";
import type { LogName } from "../../../../coordinator/farm/logs/log-store.ts";
import {
  type Event,
  EventSchema,
  type TaskFinishedSchema,
  TaskStatus,
} from "../../../../proto/gen/millrace/v1/event_pb.ts";
import {
  type AppendLogRequestSchema,
  LogService,
  type ReadLogRequestSchema,
} from "../../../../proto/gen/millrace/v1/log_pb.ts";
import { RunSchema } from "../../../../proto/gen/millrace/v1/run_pb.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { changes } from "../../../../shared/changes.ts";
import { systemClock } from "../../../../shared/clock.ts";
import { digestToMessage } from "../../../../shared/digest.ts";
import { textBlob } from "../../../support/blobs.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** A client that writes as the agent `a` and reads as a person. */
function clientOf(service: ReturnType<typeof logService>) {
  const behind = guarded(LogService, service, {
    authenticate: (secret) =>
      secret === "a" ? { name: "agent:a", role: "agent", agentId: "a" } : { name: "user:vera", role: "viewer" },
    audit: { record: async () => undefined },
    belongings: { projectOfRun: async () => undefined, projectOfEnvironment: async () => undefined },
    observer: { ended: () => undefined },
  });
  const mount = createRouterTransport((router) => router.service(LogService, behind), {
    transport: {
      interceptors: [
        (next) => (request) => {
          request.header.set("authorization", request.method.name === "AppendLog" ? "Bearer a" : "Bearer v");
          return next(request);
        },
      ],
    },
  });
  return createClient(LogService, mount);
}

/** The log service of a run with one task `s/t`, whose events come as the test says. */
async function setup() {
  const logs = await openFileLogStore({ dir: tempDir(), clock: systemClock });
  onTestFinished(() => logs.close());
  const events: Event[] = [];
  const told = changes();
  const task = { stage: "s", name: "t", status: TaskStatus.RUNNING as TaskStatus, try: 1, attempts: 0 };
  const runs: Pick<Runs, "get" | "watch"> = {
    get: async () => create(RunSchema, { tasks: [task], sequence: BigInt(events.length) }),
    async *watch(_run, after, signal) {
      for (let sequence = after + 1; ; sequence += 1) {
        const version = told.version();
        const event = events[sequence - 1];
        if (event !== undefined) yield { sequence, event };
        else if (task.status !== TaskStatus.RUNNING) return;
        else {
          await told.after(version, signal);
          sequence -= 1;
        }
      }
    },
  };
  const enrolled = new Set(["a"]);
  const writers = {
    isEnrolled: (agentId: string) => enrolled.has(agentId),
    wasGiven: async (agentId: string, log: LogName) => agentId === "a" && log.executionId === "run_1.s.t",
  };
  const client = clientOf(logService({ logs, writers, runs: runs as Runs, cas: memoryCas() }));
  const tell = (event: Event) => {
    events.push(event);
    told.announce();
  };
  return {
    logs,
    client,
    enrolled,
    start(attempt: number) {
      task.attempts = attempt;
      const value = { task: "s/t", try: 1, attempt, agent: "a", executionId: "run_1.s.t" };
      tell(create(EventSchema, { kind: { case: "taskStarted", value } }));
    },
    finish(status: TaskStatus = TaskStatus.SUCCEEDED, more: MessageInitShape<typeof TaskFinishedSchema> = {}) {
      task.status = status;
      const value = { task: "s/t", try: 1, status: task.status, ...more };
      tell(create(EventSchema, { kind: { case: "taskFinished", value } }));
    },
    async append(request: MessageInitShape<typeof AppendLogRequestSchema>) {
      async function* one() {
        yield { executionId: "run_1.s.t", attempt: 1, ...request };
      }
      const [answer] = await Array.fromAsync(client.appendLog(one()));
      return answer;
    },
    /** In short: text, and how each attempt ended. */
    async read(request: MessageInitShape<typeof ReadLogRequestSchema>): Promise<string[]> {
      const got: string[] = [];
      for await (const { attempt, data, finish, gap } of client.readLog({ run: "run_1", ...request })) {
        got.push(finish ? `#${attempt} ${gap ? "gap" : "end"}` : Buffer.from(data).toString());
      }
      return got;
    },
  };
}

const lost = { executionId: "run_1.s.t", attempt: 1 };

test("a follower of a task gets the lost attempt with its gap and the one that came after", async () => {
  const { logs, append, read, start, finish } = await setup();
  start(1);
  const followed = read({ task: "t", follow: true });
  const whole = read({ follow: true });
  const tail = read({ task: "t", offset: 2n, follow: true });
  await append({ data: Buffer.from("one\n") });
  await logs.finish(lost, "gap");
  start(2);
  await append({ attempt: 2, data: Buffer.from("one\ntwo\n"), finish: true });
  finish();
  const expected = ["one\n", "#1 gap", "one\ntwo\n", "#2 end"];
  expect(await followed).toEqual(expected);
  expect(await tail).toEqual(["e\n", ...expected.slice(1)]);
  expect((await whole).sort()).toEqual([...expected].sort());
  expect(await read({ task: "t", attempt: 1, follow: true })).toEqual(["one\n", "#1 gap"]);
  expect(await read({ task: "t" })).toEqual(["one\ntwo\n", "#2 end"]);
});

test("an agent that comes back completes the log of its lost attempt", async () => {
  const { logs, append, read, start, finish } = await setup();
  start(1);
  await append({ data: Buffer.from("one\n") });
  await logs.finish(lost, "gap");
  finish();
  // It asks about the end, hears where to go on, and sends the rest.
  const [end, rest] = [
    { offset: 8n, finish: true, gap: true },
    { offset: 4n, data: Buffer.from("two\n") },
  ];
  expect(await append(end)).toMatchObject({ storedBytes: 4n, finished: false });
  expect(await append({ ...rest, finish: true, gap: true })).toMatchObject({ storedBytes: 8n, finished: true });
  expect((await read({ task: "t" })).join("")).toBe("one\ntwo\n#1 gap");
  expect(await append({ offset: 8n, finish: true })).toMatchObject({ finished: true });
  expect((await read({ task: "t" })).join("")).toBe("one\ntwo\n#1 end");
  expect(await append({ offset: 8n, data: Buffer.from("more") })).toMatchObject({ finished: true });
  expect((await read({ task: "t" })).join("")).toBe("one\ntwo\n#1 end");
});

test("a run that was cancelled does not wait for an attempt that goes on for others, and misses nothing of its own", async () => {
  const { append, read, start, finish } = await setup();
  start(1);
  await append({ data: Buffer.from("one\n") });
  finish(TaskStatus.CANCELLED);
  expect(await read({ task: "t", follow: true })).toEqual(["one\n", "#1 end"]);
});

test("a log whose times were made up from a file's after a crash can be read", async () => {
  const { logs, read, start, finish } = await setup();
  start(1);
  // As the file system says it: a fraction of a millisecond that is no whole number of nanoseconds.
  await logs.append(lost, { offset: 0, data: Buffer.from("one\n"), timeMs: 1_763_711_234_567.1235 });
  await logs.finish(lost, "gap");
  finish();
  expect(await read({ task: "t" })).toEqual(["one\n", "#1 gap"]);
});

test("nobody waits for the end of a log that a crash left without one", async () => {
  const { append, read, start, finish } = await setup();
  start(1);
  await append({ data: Buffer.from("one\n") });
  start(2);
  await append({ attempt: 2, data: Buffer.from("two\n") });
  finish();
  expect(await read({ task: "t", follow: true })).toEqual(["two\n", "#2 gap"]);
  expect((await read({ follow: true })).sort()).toEqual(["#1 gap", "#2 gap", "one\n", "two\n"]);
});

test("the log of a cached result that is gone from the store is a gap, and ends no other one", async () => {
  const { read, finish } = await setup();
  finish(TaskStatus.SUCCEEDED, { cached: true, logDigest: digestToMessage(textBlob("gone").digest) });
  expect(await read({})).toEqual(["#0 gap"]);
});

test("an agent writes the logs of its own attempts and no others, and none once it was removed", async () => {
  const { append, read, start, finish, enrolled, client } = await setup();
  start(1);
  await append({ data: Buffer.from("mine\n") });
  await expect(append({ executionId: "run_1.s.other", data: Buffer.from("forged") })).rejects.toMatchObject({
    code: Code.PermissionDenied,
  });
  // A stream that was let in before it was removed.
  const asked = Promise.withResolvers<void>();
  async function* chunks() {
    yield { executionId: "run_1.s.t", attempt: 1, offset: 5n, data: Buffer.from("still\n") };
    await asked.promise;
    yield { executionId: "run_1.s.t", attempt: 1, offset: 11n, data: Buffer.from("late\n") };
  }
  const answers = client.appendLog(chunks())[Symbol.asyncIterator]();
  expect((await answers.next()).value?.storedBytes).toBe(11n);
  enrolled.delete("a");
  asked.resolve();
  await expect(answers.next()).rejects.toMatchObject({ code: Code.Unauthenticated });
  finish();
  expect(await read({ task: "t" })).toEqual(["mine\n", "still\n", "#1 gap"]);
});

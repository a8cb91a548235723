import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { onTestFailed, onTestFinished } from "vitest";
import { byteStreamService } from "../../../coordinator/api/grpc/byte-stream-service.ts";
import { casService } from "../../../coordinator/api/grpc/cas-service.ts";
import { type GrpcServer, grpcServer, mounted } from "../../../coordinator/api/grpc/grpc-server.ts";
import { ContentAddressableStorage } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../../proto/gen/google/bytestream/bytestream_pb.ts";
import { AdminService } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import { type AgentInfo, AgentService } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import {
  AssignReplySchema,
  AssignSchema,
  CancelReplySchema,
  CancelSchema,
  GoodbyeSchema,
  type Heartbeat,
  HeartbeatReplySchema,
  HeartbeatSchema,
  type Report,
  ReportOutcome,
  ReportReplySchema,
  ReportSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { LogService } from "../../../proto/gen/millrace/v1/log_pb.ts";
import type { Bus } from "../../../shared/bus/bus.ts";
import { connectNatsBus } from "../../../shared/bus/nats-bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { exitOf } from "../../support/exit-of.ts";
import { startNatsServer, type TestNatsServer } from "../../support/nats-server.ts";
import { millrace } from "../../support/program.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { type ActionSpec, assignment, sealed } from "./assignment.ts";

/** A coordinator of this test's own, on real sockets: it keeps what agents send and assigns what the test says. */
export interface FakeFarm {
  readonly cas: ReturnType<typeof memoryCas>;
  readonly nats: TestNatsServer;
  readonly address: string;
  readonly joined: AgentInfo[];
  readonly reports: Report[];
  readonly heartbeats: Heartbeat[];
  readonly goodbyes: string[];
  /** Answers reports from now on, or lets them wait. */
  answerReports(yes: boolean): void;
  assign(
    agent: string,
    executionId: string,
    spec: ActionSpec,
    epoch?: number,
  ): Promise<{ accepted: boolean; refusal: string }>;
  cancel(agent: string, executionId: string, reason?: string): Promise<boolean>;
  rollCall(): void;
  rejoin(agent: string): void;
  /** Resolves with the report on an execution. */
  report(executionId: string): Promise<Report>;
  /** The stored log so far; `finished` says whether it is whole. */
  log(executionId: string): { text: string; finished: boolean; gap: boolean };
  logBytes(executionId: string): number;
  /** Resolves when the condition holds; it is looked at again at each thing that an agent sends. */
  until(condition: () => boolean): Promise<void>;
  /** Cuts all gRPC connections and listens no more. */
  stopGrpc(): Promise<void>;
  startGrpc(): Promise<void>;
  /** A stored output file of a report, as text. */
  output(report: Report, path: string): Promise<string>;
}

/** It knows every agent. */
const adminService: ServiceImpl<typeof AdminService> = {
  createToken: () => ({}),
  listTokens: () => ({}),
  revokeToken: () => ({}),
  describeCoordinator: () => ({}),
  backup: async function* () {},
  rebuildProjections: () => ({}),
  collectGarbage: () => ({}),
};

interface StoredLog {
  chunks: Uint8Array[];
  sizeBytes: number;
  finished: boolean;
  gap: boolean;
}

export async function fakeFarm({ hostOperationLeaseMs = 30_000 } = {}): Promise<FakeFarm> {
  const nats = await startNatsServer();
  const cas = memoryCas();
  const events = new EventEmitter().setMaxListeners(0);
  const logs = new Map<string, StoredLog>();
  const joined: AgentInfo[] = [];
  const reports: Report[] = [];
  const heartbeats: Heartbeat[] = [];
  const goodbyes: string[] = [];
  let answering = true;
  let port = 0;
  let server: GrpcServer | undefined;
  let number = 0n;

  const agentService: ServiceImpl<typeof AgentService> = {
    enrolAgent: () => ({}),
    joinFarm({ agent }) {
      if (agent !== undefined) joined.push(agent);
      events.emit("change");
      return {
        natsServers: [nats.url],
        natsUser: nats.user,
        natsPassword: nats.password,
        heartbeatInterval: durationFromMs(200),
        lease: durationFromMs(1_000),
        hostOperationLease: durationFromMs(hostOperationLeaseMs),
      };
    },
    async *fetchProgram() {},
    ...{ listAgents: () => ({}), setAgentDraining: () => ({}), removeAgent: () => ({}) },
  };
  const logService: ServiceImpl<typeof LogService> = {
    async *appendLog(requests) {
      for await (const { executionId, attempt, offset, data, finish, gap } of requests) {
        const log = logs.get(executionId) ?? { chunks: [], sizeBytes: 0, finished: false, gap: false };
        logs.set(executionId, log);
        const skipped = log.sizeBytes - Number(offset);
        if (skipped >= 0 && skipped < data.byteLength) {
          const fresh = new Uint8Array(data.subarray(skipped));
          log.chunks.push(fresh);
          log.sizeBytes += fresh.byteLength;
        }
        log.finished = finish && Number(offset) + data.byteLength <= log.sizeBytes;
        log.gap = log.finished && gap;
        events.emit("change");
        yield { executionId, attempt, storedBytes: BigInt(log.sizeBytes), finished: log.finished };
      }
    },
    async *readLog() {},
  };

  async function startGrpc(): Promise<void> {
    server = grpcServer([
      mounted(AgentService, agentService),
      mounted(AdminService, adminService),
      mounted(LogService, logService),
      mounted(ContentAddressableStorage, casService({ cas })),
      mounted(ByteStream, byteStreamService({ cas })),
    ]);
    port = await server.listen("127.0.0.1", port);
  }
  await startGrpc();
  const bus: Bus = await connectNatsBus({
    servers: [nats.url],
    user: nats.user,
    password: nats.password,
    name: "fake coordinator",
    onError: () => {},
  });
  onTestFinished(async () => {
    await bus.close();
    await server?.close(0);
  });

  await bus.subscribe(subjects.heartbeat("*"), ({ data, reply }) => {
    heartbeats.push(fromBinary(HeartbeatSchema, data));
    reply(toBinary(HeartbeatReplySchema, create(HeartbeatReplySchema)));
    events.emit("change");
  });
  await bus.subscribe(subjects.goodbye("*"), ({ data }) => {
    goodbyes.push(fromBinary(GoodbyeSchema, data).agentId);
    events.emit("change");
  });
  await bus.subscribe(subjects.report("*"), (message) => {
    reports.push(fromBinary(ReportSchema, message.data));
    const reply = create(ReportReplySchema, { outcome: ReportOutcome.ACCEPTED });
    if (answering) message.reply(toBinary(ReportReplySchema, reply));
    events.emit("change");
  });

  async function until(condition: () => boolean): Promise<void> {
    while (!condition()) await once(events, "change");
  }

  return {
    cas,
    nats,
    get address() {
      return `127.0.0.1:${port}`;
    },
    joined,
    reports,
    heartbeats,
    goodbyes,
    answerReports(yes) {
      answering = yes;
    },
    async assign(agent, executionId, spec, epoch) {
      const assign = create(AssignSchema, await assignment(cas, executionId, spec, BigInt(epoch ?? ++number)));
      const key = joined.findLast(({ id }) => id === agent)?.sealingKey ?? new Uint8Array();
      if (spec.secrets !== undefined) assign.sealedSecrets = sealed(key, agent, assign, spec.secrets);
      const answer = await bus.request(subjects.assign(agent), toBinary(AssignSchema, assign), { timeoutMs: 5_000 });
      return fromBinary(AssignReplySchema, answer);
    },
    async cancel(agent, executionId, reason = "the test says so") {
      const cancel = create(CancelSchema, { executionId, epoch: { term: 1n, number: 1_000n }, reason });
      const answer = await bus.request(subjects.cancel(agent), toBinary(CancelSchema, cancel), { timeoutMs: 5_000 });
      return fromBinary(CancelReplySchema, answer).known;
    },
    rollCall: () => bus.publish(subjects.rollCall, new Uint8Array()),
    rejoin: (agent) => bus.publish(subjects.rejoin(agent), new Uint8Array()),
    async report(executionId) {
      const find = () => reports.find((report) => report.executionId === executionId);
      await until(() => find() !== undefined);
      const report = find();
      if (report === undefined) throw new Error("no report");
      return report;
    },
    log(executionId) {
      const { chunks, finished, gap } = logs.get(executionId) ?? { chunks: [], finished: false, gap: false };
      return { text: Buffer.concat(chunks).toString(), finished, gap };
    },
    logBytes: (executionId) => logs.get(executionId)?.sizeBytes ?? 0,
    until,
    async stopGrpc() {
      await server?.close(0);
      server = undefined;
    },
    startGrpc,
    async output({ result }, path) {
      const file = result?.outputFiles.find((each) => each.path === path);
      return Buffer.from(await readBlob(cas, digestFromMessage(file?.digest))).toString();
    },
  };
}

/** An agent's program, started as an operator does. */
export interface AgentProcess {
  readonly id: string;
  readonly child: ChildProcess;
  readonly data: string;
  /** What it wrote to standard error. */
  complaints(): string;
  /** Lines of the log of process starts. */
  starts(): string[];
}

export interface AgentProcessOptions {
  readonly id?: string;
  readonly data?: string;
  readonly slots?: number;
  readonly storeBytes?: number;
  readonly sandbox?: "bubblewrap" | "none";
  readonly tools?: readonly string[];
  /** With an IPC channel, as a supervisor does. */
  readonly channel?: boolean;
}

/** Resolves when it has joined. */
export async function startAgent(
  farm: { readonly address: string },
  options: AgentProcessOptions = {},
): Promise<AgentProcess> {
  const { id = `agent-${randomUUID().slice(0, 8)}`, data = join(tempDir(), "agent"), slots = 2 } = options;
  const child = spawn(
    millrace,
    [
      ...["agent", "--coordinator", farm.address, "--token", "test"],
      ...["--data", data, "--name", id, "--slots", String(slots), "--json"],
      ...(options.storeBytes === undefined ? [] : ["--store-bytes", String(options.storeBytes)]),
      ...(options.tools ?? []).flatMap((tool) => ["--tool", tool]),
      ...(options.sandbox === undefined ? [] : ["--sandbox", options.sandbox]),
    ],
    { stdio: ["ignore", "pipe", "pipe", ...(options.channel === true ? (["ipc"] as const) : [])] },
  );
  let complaints = "";
  child.stderr?.on("data", (text) => {
    complaints += text;
  });
  onTestFailed(() => {
    process.stderr.write(`agent ${id}:\n${complaints}`);
  });
  onTestFinished(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGTERM");
    const tooLate = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await exitOf(child);
    clearTimeout(tooLate);
  });
  if (child.stdout === null) throw new Error("no stdout");
  let first: unknown;
  for await (const line of createInterface({ input: child.stdout })) {
    first = JSON.parse(line);
    break;
  }
  child.stdout.resume();
  if (JSON.stringify(first) !== JSON.stringify({ agent: id, state: "online" })) {
    throw new Error(`the agent did not come up: ${JSON.stringify(first)} ${complaints}`);
  }
  return {
    id,
    child,
    data,
    complaints: () => complaints,
    starts: () => readFileSync(join(data, "process-starts.log"), "utf8").split("\n").filter(Boolean),
  };
}

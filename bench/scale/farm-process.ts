// The coordinator's half that agents see, as a process of its own: bus, registry, scheduler and their database. Started by scale.ts.
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { create } from "@bufbuild/protobuf";
import type { AgentRegistry } from "../../coordinator/farm/agents/agent-registry.ts";
import { agentSchema, busAgentRegistry } from "../../coordinator/farm/agents/bus-agent-registry.ts";
import { busDispatcher } from "../../coordinator/farm/scheduler/dispatcher.ts";
import { executionSchema, nextTerm, sqliteExecutionTable } from "../../coordinator/farm/scheduler/execution-table.ts";
import { FarmScheduler } from "../../coordinator/farm/scheduler/farm-scheduler.ts";
import type { ExecutionRequest } from "../../coordinator/farm/scheduler/scheduler.ts";
import { ActionSchema, CommandSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { AgentInfoSchema, AgentState } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { connectNatsBus } from "../../shared/bus/nats-bus.ts";
import { systemClock } from "../../shared/clock.ts";
import { digestOf, digestToMessage } from "../../shared/digest.ts";
import { openSqlite } from "../../shared/sqlite/open.ts";
import { version } from "../../shared/version.ts";
import { type FarmAnswer, type FarmProcessOptions, type FarmQuestion, machineNowMs } from "./messages.ts";

const submitsInFlight = 256;

const { nats, folder } = JSON.parse(process.argv[2] ?? "") as FarmProcessOptions;
const onError = (error: unknown): void => {
  process.stderr.write(`farm: ${String(error)}\n`);
};
const bus = await connectNatsBus({ ...nats, servers: [nats.url], name: "coordinator", onError });
const sqlite = await openSqlite({ path: join(folder, "farm.db"), schema: [executionSchema, agentSchema] });
const term = await nextTerm(sqlite);
const parts = { bus, clock: systemClock, term, onError };
const agents = busAgentRegistry({ ...parts, sqlite });
const scheduler = new FarmScheduler({
  ...parts,
  agents,
  dispatcher: busDispatcher(bus),
  table: sqliteExecutionTable(sqlite),
  keep: async () => undefined,
  attemptEnded: async () => undefined,
});
scheduler.subscribe((update) => {
  if (update.kind === "finished") scheduler.forget(update.id).catch(onError);
});
const heartbeats = heartbeatCount(agents);
await agents.start?.();
await scheduler.start();
const delays = monitorEventLoopDelay({ resolution: 5 });
delays.enable();

/** How many were heard since this call. */
function heartbeatCount(heard: AgentRegistry): () => number {
  let count = 0;
  heard.subscribe(({ kind }) => {
    if (kind === "heartbeat") count += 1;
  });
  return () => count;
}

/** As the tasks of a pipeline are: a command of some length, a time-out, an environment. */
function request(id: string, fairGroup: string, labels: Readonly<Record<string, string>>): ExecutionRequest {
  const properties = Object.entries(labels).map(([name, value]) => ({ name, value }));
  const command = create(CommandSchema, {
    arguments: ["/bin/sh", "-e", "-c", `npm test --workspace packages/${id}`],
    environmentVariables: [{ name: "PATH", value: "/usr/local/bin:/usr/bin:/bin" }],
    outputPaths: ["out/report.xml"],
  });
  const input = digestToMessage(digestOf(Buffer.from(id)));
  const action = create(ActionSchema, { commandDigest: input, inputRootDigest: input, platform: { properties } });
  const actionDigest = digestOf(Buffer.from(`action ${id}`));
  return {
    id,
    actionDigest,
    action,
    command,
    priority: 0,
    fairGroup,
    volatileEnvironment: { MILLRACE_RUN: fairGroup },
  };
}

async function submitMany({ prefix, count, groups, labels }: Extract<FarmQuestion, { kind: "submit" }>): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < count) {
      const number = next++;
      await scheduler.submit(request(`${prefix}.${number}`, `run_${number % groups}`, labels));
    }
  };
  await Promise.all(Array.from({ length: submitsInFlight }, one));
}

async function answer(question: FarmQuestion): Promise<void> {
  switch (question.kind) {
    case "join":
      await Promise.all(
        question.agents.map((info) => agents.join(create(AgentInfoSchema, { ...info, version, hostname: "bench" }))),
      );
      return;
    case "submit":
      return await submitMany(question);
    case "submit one":
      return await scheduler.submit(request(question.id, "run_single", question.labels));
    case "stats":
      return;
    default:
      question satisfies never;
  }
}

process.on("message", (question: FarmQuestion) => {
  const askedAtMs = machineNowMs();
  answer(question).then(() => {
    const { queued, running } = scheduler.stats();
    const online = agents.list().filter(({ state, heard }) => heard && state === AgentState.ONLINE).length;
    const said: FarmAnswer = {
      ...{ queued, running, online, askedAtMs, heartbeats: heartbeats() },
      tookMs: machineNowMs() - askedAtMs,
      stallMs: delays.max / 1e6,
    };
    delays.reset();
    process.send?.(said);
  }, onError);
});
process.on("disconnect", () => process.exit(0));
process.send?.("ready");

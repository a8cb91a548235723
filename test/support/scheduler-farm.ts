import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished } from "vitest";
import type { AgentRegistry } from "../../coordinator/farm/agents/agent-registry.ts";
import { agentSchema, busAgentRegistry } from "../../coordinator/farm/agents/bus-agent-registry.ts";
import type { FarmPools, FarmPoolsDeps } from "../../coordinator/farm/pools/farm-pools.ts";
import { poolSchema } from "../../coordinator/farm/pools/pool-table.ts";
import { busDispatcher } from "../../coordinator/farm/scheduler/dispatcher.ts";
import {
  type ExecutionTable,
  executionSchema,
  nextTerm,
  sqliteExecutionTable,
} from "../../coordinator/farm/scheduler/execution-table.ts";
import { FarmScheduler } from "../../coordinator/farm/scheduler/farm-scheduler.ts";
import type { ExecutionRequest, ExecutionUpdate } from "../../coordinator/farm/scheduler/scheduler.ts";
import type { SecretSealer } from "../../coordinator/farm/scheduler/secret-sealer.ts";
import { ActionSchema, CommandSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type InProcessBroker, inProcessBus } from "../../shared/bus/in-process-bus.ts";
import { digestOf } from "../../shared/digest.ts";
import { openSqlite } from "../../shared/sqlite/open.ts";
import type { Sqlite } from "../../shared/sqlite/sqlite.ts";
import { type BusAgentOptions, busAgent } from "./bus-agent.ts";
import { type FakeClock, fakeClock } from "./fake-clock.ts";
import { tempDir } from "./temp-dir.ts";

/** Makes the pools of a farm, which know its scheduler before there is one. */
export type OpenPools = (
  parts: Pick<FarmPoolsDeps, "agents" | "scheduler"> & { readonly sqlite: Sqlite; readonly clock: FakeClock },
) => Promise<FarmPools>;

/** A scheduler on real parts but for the bus, which is in this process, and the clock. */
export interface SchedulerFarm {
  readonly scheduler: FarmScheduler;
  readonly agents: AgentRegistry;
  readonly clock: FakeClock;
  readonly broker: InProcessBroker;
  readonly ended: string[];
  /** The next update of this kind for this execution; earlier ones of it are passed over. */
  next<K extends ExecutionUpdate["kind"]>(id: string, kind: K): Promise<Extract<ExecutionUpdate, { kind: K }>>;
  agent(options: BusAgentOptions): ReturnType<typeof joinAgent>;
  /** Resolves when the disk has done what it was asked for before. */
  written(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts a scheduler; `dir` and `broker` of an earlier one make it a restart. `decorate` stands between it and its table;
 * who makes that fail says what errors may come.
 */
export async function startSchedulerFarm({
  dir = tempDir(),
  broker = inProcessBus(),
  clock = fakeClock(),
  decorate = (table: ExecutionTable): ExecutionTable => table,
  openPools = undefined as OpenPools | undefined,
  sealer = undefined as SecretSealer | undefined,
  onError = (error: unknown): void => expect.unreachable(String(error)),
} = {}): Promise<SchedulerFarm> {
  const sqlite = await openSqlite({
    path: join(dir, "farm.db"),
    schema: [executionSchema, agentSchema, poolSchema],
  });
  const bus = broker.connect();
  const term = await nextTerm(sqlite);
  const agents = busAgentRegistry({ bus, sqlite, clock, term, onError });
  const ended: string[] = [];
  const pools = await openPools?.({ sqlite, agents, clock, scheduler: () => scheduler });
  const scheduler: FarmScheduler = new FarmScheduler({
    bus,
    agents,
    ...(pools === undefined ? {} : { pools }),
    dispatcher: busDispatcher(bus, sealer),
    table: decorate(sqliteExecutionTable(sqlite)),
    clock,
    term,
    keep: async () => {},
    attemptEnded: async (id, attempt) => void ended.push(`${id}/${attempt}`),
    onError,
  });
  const updates: ExecutionUpdate[] = [];
  const watchers = new Set<() => void>();
  scheduler.subscribe((update) => {
    updates.push(update);
    for (const watcher of watchers) watcher();
  });
  await agents.start?.();
  await scheduler.start();
  await pools?.start?.();
  let stopped = false;
  const farm: SchedulerFarm = {
    scheduler,
    agents,
    clock,
    broker,
    ended,
    next: (id, kind) =>
      new Promise((resolve) => {
        const look = (): void => {
          const index = updates.findIndex((update) => update.id === id && update.kind === kind);
          const [found] = index < 0 ? [] : updates.splice(index, 1);
          if (found === undefined) return;
          watchers.delete(look);
          resolve(found as never);
        };
        watchers.add(look);
        look();
      }),
    agent: (options) => joinAgent(broker, agents, options),
    written: async () => void (await sqlite.query("SELECT 1")),
    async stop() {
      if (stopped) return;
      stopped = true;
      await pools?.stop?.();
      await scheduler.stop();
      await agents.stop?.();
      await sqlite.close();
    },
  };
  onTestFinished(() => farm.stop());
  return farm;
}

/** Resolves when its first heartbeat was heard: from then on it may be given work. */
async function joinAgent(broker: InProcessBroker, agents: AgentRegistry, options: BusAgentOptions) {
  const agent = await busAgent(broker.connect(), options);
  await agents.join(agent.info);
  const { promise, resolve } = Promise.withResolvers<void>();
  const unsubscribe = agents.subscribe((change) => {
    if (change.kind === "heartbeat" && change.agent.info.id === agent.info.id) resolve();
  });
  agent.heartbeat();
  await promise;
  unsubscribe();
  return agent;
}

/** A request; its Action is its own unless `extra` says otherwise. */
export function execution(
  id: string,
  extra: Partial<ExecutionRequest> & { labels?: Record<string, string> } = {},
): ExecutionRequest {
  const { labels = {}, ...request } = extra;
  const properties = Object.entries(labels).map(([name, value]) => ({ name, value }));
  return {
    id,
    actionDigest: digestOf(Buffer.from(id)),
    action: create(ActionSchema, { platform: { properties } }),
    command: create(CommandSchema, { arguments: ["true"] }),
    priority: 0,
    fairGroup: "run_1",
    volatileEnvironment: {},
    ...request,
  };
}

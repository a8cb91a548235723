import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type { AgentRegistry } from "../../coordinator/farm/agents/agent-registry.ts";
import { agentSchema, busAgentRegistry } from "../../coordinator/farm/agents/bus-agent-registry.ts";
import { busDispatcher } from "../../coordinator/farm/scheduler/dispatcher.ts";
import { executionSchema, nextTerm, sqliteExecutionTable } from "../../coordinator/farm/scheduler/execution-table.ts";
import { FarmScheduler } from "../../coordinator/farm/scheduler/farm-scheduler.ts";
import {
  type AgentInfo,
  AgentState,
  type JoinFarmResponse,
  JoinFarmResponseSchema,
} from "../../proto/gen/millrace/v1/agent_pb.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { FaultyBus } from "./faulty-bus.ts";
import type { Judge } from "./judge.ts";
import { type SimDisk, simDisk } from "./sim-disk.ts";
import { busOf, type SimHost, type SimProcess, simProcess } from "./sim-process.ts";
import type { World } from "./world.ts";

/** One start of the coordinator's farm half. */
export interface Reign {
  readonly process: SimProcess;
  readonly scheduler: FarmScheduler;
  readonly agents: AgentRegistry;
}

/** The real scheduler and registry, on a disk that outlives them. */
export interface SimCoordinator extends SimHost {
  /** The start that serves now. */
  readonly reign: Reign | undefined;
  joinFarm(info: AgentInfo): Promise<JoinFarmResponse>;
  readonly disk: SimDisk;
}

export interface SimCoordinatorOptions {
  readonly connectBus: () => FaultyBus;
  readonly judge: Judge;
  /** Told when a start serves. */
  readonly onReign: (reign: Reign) => void;
}

export function simCoordinator(world: World, { connectBus, judge, onReign }: SimCoordinatorOptions): SimCoordinator {
  const { chance, clock } = world;
  const disk = simDisk({
    schema: [executionSchema, agentSchema],
    chance,
    full: () => world.weather().coordinatorDiskFull,
  });
  let process: SimProcess | undefined;
  let way: FaultyBus | undefined;
  let reign: Reign | undefined;
  let isCut = false;

  async function rule(own: SimProcess): Promise<void> {
    const connection = connectBus();
    way = connection;
    connection.cut(isCut);
    const bus = busOf(own, connection);
    const sqlite = disk.open(own);
    const term = await nextTerm(sqlite);
    const onError = (error: unknown): void => judge.error(error);
    const parts = { bus, clock: own.clock, term, onError };
    const agents = busAgentRegistry({ ...parts, sqlite });
    const table = judge.watch(sqliteExecutionTable(sqlite), () => scheduler);
    const scheduler: FarmScheduler = new FarmScheduler({
      ...parts,
      agents,
      dispatcher: busDispatcher(bus),
      table,
      async keep(_request, report) {
        const { promise, resolve } = Promise.withResolvers<void>();
        own.clock.after(chance.int(0, 20), resolve);
        await promise;
        judge.kept(report);
      },
      attemptEnded: async (executionId, attempt) => judge.attemptEnded(executionId, attempt),
    });
    await agents.start?.();
    await scheduler.start();
    reign = { process: own, scheduler, agents };
    onReign(reign);
  }

  function start(): void {
    const own = simProcess(clock);
    process = own;
    rule(own).catch((error: unknown) => {
      const { code, message } = from(error);
      // As its supervisor does: no bus, or no room on the disk, and it is started again.
      if (code !== "unavailable" && code !== "resource_exhausted") return world.fail(`the coordinator: ${message}`);
      if (process !== own) return;
      kill();
      clock.after(500, () => {
        if (process === undefined) start();
      });
    });
  }

  function kill(): void {
    process?.kill();
    void way?.close();
    process = undefined;
    reign = undefined;
  }

  return {
    get reign() {
      return reign;
    },
    get isAlive() {
      return process !== undefined;
    },
    disk,
    start,
    kill,
    stop: () => process?.stop(),
    resume: () => process?.resume(),
    cut(cut) {
      isCut = cut;
      way?.cut(cut);
    },
    async joinFarm(info) {
      if (reign === undefined) throw new MillraceError("unavailable", "there is no coordinator");
      const { agents, process: serving } = reign;
      const asked = Promise.withResolvers<void>();
      clock.after(1, asked.resolve);
      await serving.answer(asked.promise);
      const { state } = await serving.answer(agents.join(info));
      return create(JoinFarmResponseSchema, {
        drain: state === AgentState.DRAINING,
        natsServers: ["simulated"],
        heartbeatInterval: durationFromMs(limits.heartbeatIntervalMs),
        lease: durationFromMs(limits.leaseMs),
        hostOperationLease: durationFromMs(limits.hostOperationLeaseMs),
      });
    },
  };
}

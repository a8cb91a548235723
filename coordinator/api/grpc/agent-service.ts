import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AgentService, AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { LeaseTimes } from "../../../shared/lease-times.ts";
import { limits } from "../../../shared/limits.ts";
import { fitsVersion, version } from "../../../shared/version.ts";
import type { AgentRecord, AgentRegistry } from "../../farm/agents/agent-registry.ts";
import type { Scheduler } from "../../farm/scheduler/scheduler.ts";

/** How agents reach the bus. */
export interface BusAddress {
  readonly servers: readonly string[];
  readonly user: string;
  readonly password: string;
}

export interface AgentServiceDeps {
  readonly agents: AgentRegistry;
  readonly scheduler: Pick<Scheduler, "stats">;
  readonly bus: BusAddress;
  readonly lease: LeaseTimes;
}

/** AgentService: agents join the farm, people look at them. */
export function agentService({ agents, scheduler, bus, lease }: AgentServiceDeps): ServiceImpl<typeof AgentService> {
  const heldBy = (id: string): readonly string[] => scheduler.stats().heldBy.get(id) ?? [];
  return {
    async joinFarm({ agent }) {
      if (agent === undefined || !/^[a-z0-9-]{1,64}$/.test(agent.id)) {
        throw new MillraceError("invalid_argument", `an agent's id is 1 to 64 of a-z, 0-9 and "-"; got "${agent?.id}"`);
      }
      if (agent.slots < 1 || agent.slots > limits.agentSlots) {
        throw new MillraceError("invalid_argument", `an agent has 1 to ${limits.agentSlots} slots; got ${agent.slots}`);
      }
      if (!fitsVersion(agent.version)) {
        throw new MillraceError(
          "failed_precondition",
          `agent ${agent.id} has version ${agent.version}, this coordinator ${version}: an agent works with a ` +
            "coordinator of the same or the next minor version; install the matching one",
        );
      }
      const { state } = await agents.join(agent);
      return {
        drain: state === AgentState.DRAINING,
        natsServers: [...bus.servers],
        natsUser: bus.user,
        natsPassword: bus.password,
        heartbeatInterval: durationFromMs(lease.heartbeatMs),
        lease: durationFromMs(lease.leaseMs),
        hostOperationLease: durationFromMs(lease.hostOperationLeaseMs),
      };
    },

    listAgents: () => ({ agents: agents.list().map((agent) => shown(agent, heldBy(agent.info.id))) }),

    async setAgentDraining({ id, draining }) {
      return { agent: shown(await agents.drain(id, draining), heldBy(id)) };
    },

    async removeAgent({ id, force }) {
      const held = heldBy(id);
      if (held.length > 0 && !force) {
        throw new MillraceError(
          "failed_precondition",
          `${id} holds ${held.join(", ")}: drain it first and wait, or have its work placed anew with --force`,
        );
      }
      await agents.remove(id);
      return {};
    },
  };
}

function shown({ info, state, lastHeartbeatMs, disk }: AgentRecord, executions: readonly string[]) {
  return {
    info,
    state,
    slotsUsed: executions.length,
    executions: [...executions],
    ...(disk === undefined ? {} : { disk }),
    ...(lastHeartbeatMs === 0 ? {} : { lastHeartbeatTime: timestampFromMs(lastHeartbeatMs) }),
  };
}

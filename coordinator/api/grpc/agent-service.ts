import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import type { AgentService } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { fitsVersion, version } from "../../../shared/version.ts";
import type { AgentRegistry } from "../../farm/agents/agent-registry.ts";
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
}

/** AgentService: agents join the farm, people look at them. */
export function agentService({ agents, scheduler, bus }: AgentServiceDeps): ServiceImpl<typeof AgentService> {
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
      await agents.join(agent);
      return {
        natsServers: [...bus.servers],
        natsUser: bus.user,
        natsPassword: bus.password,
        heartbeatInterval: durationFromMs(limits.heartbeatIntervalMs),
        lease: durationFromMs(limits.leaseMs),
      };
    },

    listAgents() {
      const { heldBy } = scheduler.stats();
      return {
        agents: agents.list().map(({ info, state, lastHeartbeatMs }) => {
          const executions = [...(heldBy.get(info.id) ?? [])];
          return {
            info,
            state,
            slotsUsed: executions.length,
            executions,
            ...(lastHeartbeatMs === 0 ? {} : { lastHeartbeatTime: timestampFromMs(lastHeartbeatMs) }),
          };
        }),
      };
    },
  };
}

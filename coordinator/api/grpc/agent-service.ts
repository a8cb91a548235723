import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type AgentInfo, type AgentService, AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { fitsVersion, version } from "../../../shared/version.ts";
import type { AgentRecord, AgentRegistry } from "../../farm/agents/agent-registry.ts";
import type { Program, Programs } from "../../farm/agents/programs.ts";
import type { Scheduler } from "../../farm/scheduler/scheduler.ts";

/** How agents reach the bus. */
export interface BusAddress {
  readonly servers: readonly string[];
  readonly user: string;
  readonly password: string;
  /** By whom `tls://` servers are vouched for: PEM, or `system`; undefined: by whom the coordinator is. */
  readonly ca?: string | undefined;
}

export interface AgentServiceDeps {
  readonly agents: AgentRegistry;
  readonly scheduler: Pick<Scheduler, "stats">;
  readonly bus: BusAddress;
  readonly programs: Programs;
  /** What an agent that has joined is offered to upgrade to. */
  readonly offerTo: (agent: AgentInfo) => Promise<Program | undefined>;
}

/** AgentService: agents join the farm, people look at them. */
export function agentService({
  agents,
  scheduler,
  bus,
  programs,
  offerTo,
}: AgentServiceDeps): ServiceImpl<typeof AgentService> {
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
      const program = await offerTo(agent);
      return {
        ...(program === undefined ? {} : { program: offered(program) }),
        drain: state === AgentState.DRAINING,
        natsServers: [...bus.servers],
        natsUser: bus.user,
        natsPassword: bus.password,
        natsCa: bus.ca ?? "",
        heartbeatInterval: durationFromMs(limits.heartbeatIntervalMs),
        lease: durationFromMs(limits.leaseMs),
        hostOperationLease: durationFromMs(limits.hostOperationLeaseMs),
      };
    },

    async *fetchProgram({ sha256, platform }) {
      const program = await programs.find(platform);
      if (program?.sha256 !== sha256) {
        throw new MillraceError("not_found", `the coordinator has no program ${sha256} for ${platform} any more`);
      }
      for await (const data of programs.read(program)) yield { data };
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

function offered({ version: theirs, sha256, sizeBytes }: Program) {
  return { version: theirs, sha256, sizeBytes: BigInt(sizeBytes) };
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

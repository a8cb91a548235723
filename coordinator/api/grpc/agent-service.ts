import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import {
  type AgentInfo,
  type AgentService,
  AgentState,
  type EnrolAgentRequest,
} from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { isBusPublicKey } from "../../../shared/bus/bus-key.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { LeaseTimes } from "../../../shared/lease-times.ts";
import { limits } from "../../../shared/limits.ts";
import { fitsVersion, version } from "../../../shared/version.ts";
import { type AgentRecord, type AgentRegistry, isConnected } from "../../farm/agents/agent-registry.ts";
import type { Admission, Enrolment, Enrolments, NewAgent } from "../../farm/agents/enrolments.ts";
import type { Program, Programs } from "../../farm/agents/programs.ts";
import type { Scheduler } from "../../farm/scheduler/scheduler.ts";
import { principalOf } from "../guard.ts";

/** How agents reach the bus; without a user each signs in with the key that it enrolled with. */
export interface BusAddress {
  readonly servers: readonly string[];
  readonly user: string;
  readonly password: string;
  /** By whom `tls://` servers are vouched for: PEM, or `system`; undefined: by whom the coordinator is. */
  readonly ca?: string | undefined;
}

export interface AgentServiceDeps {
  readonly agents: AgentRegistry;
  readonly enrolments: Pick<Enrolments, "enrol" | "find" | "list" | "revoke">;
  readonly scheduler: Pick<Scheduler, "stats">;
  readonly bus: BusAddress;
  readonly lease: LeaseTimes;
  readonly programs: Programs;
  /** What an agent that has joined is offered to upgrade to. */
  readonly offerTo: (agent: AgentInfo) => Promise<Program | undefined>;
}

/** AgentService: agents are let in and join the farm, people look at them. */
export function agentService({
  agents,
  enrolments,
  scheduler,
  bus,
  lease,
  programs,
  offerTo,
}: AgentServiceDeps): ServiceImpl<typeof AgentService> {
  const heldBy = (id: string): readonly string[] => scheduler.stats().heldBy.get(id) ?? [];
  const show = (agent: AgentRecord) => shown(agent, enrolments.find(agent.info.id), heldBy(agent.info.id));
  /** Heard by this coordinator, and not lost since. */
  const isHere = (id: string) =>
    agents.list().some((agent) => agent.info.id === id && agent.heard && isConnected(agent));
  return {
    async enrolAgent(request, context) {
      const agent = newAgentOf(request);
      const { name, enrolmentToken } = principalOf(context);
      const admission: Admission =
        enrolmentToken === undefined
          ? { kind: "always", token: name, mayReplace: !isHere(agent.id) }
          : { kind: "once", token: enrolmentToken };
      const { pool = "" } = await enrolments.enrol(agent, admission);
      return { pool };
    },

    async joinFarm({ agent }, context) {
      requireAgentId(agent?.id ?? "");
      const { agentId } = principalOf(context);
      if (agent === undefined || agent.id !== agentId) {
        throw new MillraceError("permission_denied", `the agent "${agentId}" cannot join as "${agent?.id}"`);
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
      const { pool, ephemeral = false } = enrolments.find(agent.id) ?? {};
      if (pool !== undefined) agent.labels.pool = pool;
      if (ephemeral) agent.ephemeral = true;
      const { state } = await agents.join(agent);
      const program = await offerTo(agent);
      return {
        ephemeral,
        ...(program === undefined ? {} : { program: offered(program) }),
        drain: state === AgentState.DRAINING,
        natsServers: [...bus.servers],
        natsUser: bus.user,
        natsPassword: bus.password,
        natsCa: bus.ca ?? "",
        heartbeatInterval: durationFromMs(lease.heartbeatMs),
        lease: durationFromMs(lease.leaseMs),
        hostOperationLease: durationFromMs(lease.hostOperationLeaseMs),
      };
    },

    async *fetchProgram({ sha256, platform }) {
      const program = await programs.find(platform);
      if (program?.sha256 !== sha256) {
        throw new MillraceError("not_found", `the coordinator has no program ${sha256} for ${platform} any more`);
      }
      for await (const data of programs.read(program)) yield { data };
    },

    listAgents(_request, context) {
      const joined = agents.list();
      const ids = new Set(joined.map(({ info }) => info.id));
      const others = enrolments.list().filter(({ id }) => !ids.has(id));
      // Executions name runs and tasks of any project.
      const bound = principalOf(context).projects !== undefined;
      const seen = joined.map(show).map((agent) => (bound ? { ...agent, executions: [] } : agent));
      return { agents: [...seen, ...others.map(shownEnrolled)] };
    },

    async setAgentDraining({ id, draining }) {
      return { agent: show(await agents.drain(id, draining)) };
    },

    async removeAgent({ id, force }) {
      const held = heldBy(id);
      if (held.length > 0 && !force) {
        throw new MillraceError(
          "failed_precondition",
          `${id} holds ${held.join(", ")}: drain it first and wait, or have its work placed anew with --force`,
        );
      }
      const isEnrolled = enrolments.find(id) !== undefined;
      const hasJoined = agents.list().some(({ info }) => info.id === id);
      // In this order: one that is forgotten first would join again before its secret is refused.
      try {
        if (isEnrolled) await enrolments.revoke(id);
      } finally {
        if (hasJoined || !isEnrolled) await agents.remove(id);
      }
      return {};
    },
  };
}

function offered({ version: theirs, sha256, sizeBytes }: Program) {
  return { version: theirs, sha256, sizeBytes: BigInt(sizeBytes) };
}

function requireAgentId(id: string): void {
  if (/^[a-z0-9-]{1,64}$/.test(id)) return;
  throw new MillraceError("invalid_argument", `an agent's id is 1 to 64 of a-z, 0-9 and "-"; got "${id}"`);
}

/** @throws MillraceError invalid_argument when it cannot be let in by what it says */
function newAgentOf({ id, hostname, natsPublicKey, secretSha256 }: EnrolAgentRequest): NewAgent {
  requireAgentId(id);
  if (!isBusPublicKey(natsPublicKey)) {
    throw new MillraceError("invalid_argument", `"${natsPublicKey}" is no public key of a user on NATS`);
  }
  if (secretSha256.byteLength !== 32) {
    throw new MillraceError("invalid_argument", `a SHA-256 has 32 bytes, not ${secretSha256.byteLength}`);
  }
  const known = { hostname: hostname.slice(0, limits.hostnameChars), publicKey: natsPublicKey };
  return { id, ...known, secretSha256: Buffer.from(secretSha256).toString("hex") };
}

function shown(
  { info, state, lastHeartbeatMs, disk }: AgentRecord,
  enrolment: Enrolment | undefined,
  executions: readonly string[],
) {
  return {
    info,
    state,
    slotsUsed: executions.length,
    executions: [...executions],
    ...(disk === undefined ? {} : { disk }),
    ...(lastHeartbeatMs === 0 ? {} : { lastHeartbeatTime: timestampFromMs(lastHeartbeatMs) }),
    ...(enrolment === undefined
      ? {}
      : { enrolTime: timestampFromMs(enrolment.enrolledMs), ephemeral: enrolment.ephemeral }),
  };
}

/** One that was let in and never joined, or was forgotten since: all that is known of it is its enrolment. */
function shownEnrolled({ id, hostname, pool, ephemeral, enrolledMs }: Enrolment) {
  const labels: Record<string, string> = pool === undefined ? {} : { pool };
  const enrolTime = timestampFromMs(enrolledMs);
  return { info: { id, hostname, labels }, state: AgentState.ENROLLED, enrolTime, ephemeral };
}

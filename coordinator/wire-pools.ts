import { randomBytes } from "node:crypto";
import { arch, platform } from "node:os";
import { join } from "node:path";
import type { Clock } from "../shared/clock.ts";
import { MillraceError } from "../shared/errors.ts";
import { poolLimits } from "../shared/limits/pools.ts";
import { agentEnvironment, agentFlags } from "../shared/process-shape.ts";
import { formatToken } from "../shared/rpc/token.ts";
import { ownProgram } from "../shared/single-file.ts";
import type { Sqlite } from "../shared/sqlite/sqlite.ts";
import type { CoordinatorConfig } from "./config.ts";
import type { AgentRegistry } from "./farm/agents/agent-registry.ts";
import type { Enrolments } from "./farm/agents/enrolments.ts";
import { execProvider, requireProgram } from "./farm/pools/exec-provider.ts";
import { type FarmPools, type FarmPoolsDeps, openFarmPools } from "./farm/pools/farm-pools.ts";
import { localProcessProvider } from "./farm/pools/local-process-provider.ts";
import type { PoolProvider } from "./farm/pools/pool-provider.ts";
import { sqlitePoolTable } from "./farm/pools/pool-table.ts";
import type { PoolSettings } from "./farm/pools/pools.ts";

export interface WirePoolsDeps extends Pick<FarmPoolsDeps, "scheduler" | "onError"> {
  readonly config: CoordinatorConfig;
  readonly agents: AgentRegistry;
  readonly enrolments: Pick<Enrolments, "create" | "find" | "revoke">;
  /** Of the farm's own CA. */
  readonly fingerprint: string | undefined;
  readonly sqlite: Sqlite;
  readonly clock: Clock;
  /** Known once the server listens. */
  readonly grpcPort: () => number;
}

/** Pools with the providers that there are. */
export async function wirePools(deps: WirePoolsDeps): Promise<FarmPools> {
  const { config, enrolments, fingerprint, clock, grpcPort } = deps;
  const { data } = config;
  const providerOf = ({ name, provider }: PoolSettings): PoolProvider => {
    switch (provider.kind) {
      case "local-process":
        return localProcessProvider({
          folder: join(data, "pools", name),
          self: ownProgram(agentFlags),
          env: agentEnvironment(process.env),
          hide: [data],
          clock,
        });
      case "exec":
        return execProvider({ pool: name, command: provider.command, env: process.env, clock });
      case "static":
        throw new MillraceError("internal", `the static pool ${name} was asked for agents`);
      default:
        return provider satisfies never;
    }
  };
  return await openFarmPools({
    ...{ scheduler: deps.scheduler, onError: deps.onError, clock, providerOf },
    agents: expellingRegistry(deps),
    table: sqlitePoolTable(deps.sqlite),
    checkProvider: (provider) => (provider.kind === "exec" ? requireProgram(provider.command) : undefined),
    knownLabels: ({ provider }) => (provider.kind === "local-process" ? { os: platform(), arch: arch() } : {}),
    random: () => randomBytes(4).toString("hex"),
    async tokenFor({ name, ephemeral, joinTimeoutMs }) {
      const ttlMs = joinTimeoutMs + poolLimits.tokenSpareMs;
      const { secret } = await enrolments.create({ pool: name, ephemeral, ttlMs });
      return formatToken({ secret, fingerprint });
    },
    coordinator: () => `${config.advertise ?? localHost(config.host)}:${grpcPort()}`,
  });
}

/** Whoever is removed for good is let in no more; an ephemeral agent removes itself when it leaves. */
function expellingRegistry({ agents, enrolments, onError }: WirePoolsDeps): AgentRegistry {
  const expel = async (id: string): Promise<void> => {
    if (enrolments.find(id) !== undefined) await enrolments.revoke(id);
  };
  agents.subscribe(({ kind, agent: { info } }) => {
    if (kind === "removed" && info.ephemeral) expel(info.id).catch(onError);
  });
  return {
    ...agents,
    async remove(id) {
      await expel(id); // first: else it would join again before its secret is refused
      await agents.remove(id);
    },
  };
}

/** Where this machine reaches itself when it listens on `host`. */
function localHost(host: string): string {
  if (host === "0.0.0.0") return "127.0.0.1";
  if (host === "::") return "[::1]";
  return host.includes(":") ? `[${host}]` : host;
}

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { KeepingConfig } from "../../coordinator/config.ts";
import { startCoordinator } from "../../coordinator/wiring.ts";
import { AdminService, Role } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { AuditService } from "../../proto/gen/millrace/v1/audit_pb.ts";
import { FlowService } from "../../proto/gen/millrace/v1/flow_pb.ts";
import { LogService } from "../../proto/gen/millrace/v1/log_pb.ts";
import { PoolService } from "../../proto/gen/millrace/v1/pool_pb.ts";
import { ProjectService } from "../../proto/gen/millrace/v1/project_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { SecretService } from "../../proto/gen/millrace/v1/secret_pb.ts";
import { connectNatsBus } from "../../shared/bus/nats-bus.ts";
import { grpcCas } from "../../shared/cas/grpc-cas.ts";
import { leaseTimes } from "../../shared/lease-times.ts";
import { limits } from "../../shared/limits.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { parseToken } from "../../shared/rpc/token.ts";
import type { ServerTls } from "../../shared/tls/server-tls.ts";
import { authorityTrust, type Trust } from "../../shared/tls/trust.ts";
import { enrol } from "./enrol.ts";
import { type startManagedNats, startNatsServer } from "./nats-server.ts";
import { tempDir } from "./temp-dir.ts";

/** Clients of a coordinator, all with one token. */
export type Clients = ReturnType<typeof clientsOf>;

function clientsOf(address: string, token?: string, trust?: Trust) {
  const transport = grpcTransport({ address, trust, ...(token === undefined ? {} : { token }) });
  onTestFinished(() => transport.close());
  return {
    transport,
    runs: createClient(RunService, transport),
    logs: createClient(LogService, transport),
    agents: createClient(AgentService, transport),
    flow: createClient(FlowService, transport),
    admin: createClient(AdminService, transport),
    pools: createClient(PoolService, transport),
    secrets: createClient(SecretService, transport),
    audit: createClient(AuditService, transport),
    projects: createClient(ProjectService, transport),
    cas: grpcCas({ transport }),
  };
}

const keepAll: KeepingConfig = {
  casMaxBytes: Number.POSITIVE_INFINITY,
  casIdle: limits.casPromiseMs,
  keepRuns: Number.POSITIVE_INFINITY,
  keepRunsFor: Number.POSITIVE_INFINITY,
  keepLogsFor: Number.POSITIVE_INFINITY,
  keepArtifactsFor: Number.POSITIVE_INFINITY,
  keepCacheFor: Number.POSITIVE_INFINITY,
  keepLostAgentsFor: Number.POSITIVE_INFINITY,
};

export interface TestCoordinatorOptions {
  /** The server that it speaks to; default one of its own, whose one user is everybody's. */
  readonly nats?: Awaited<ReturnType<typeof startManagedNats>>;
  readonly tls?: ServerTls | undefined;
  /** Default: everything is kept. */
  readonly keeping?: Partial<KeepingConfig>;
}

/** A real coordinator in this process, on a real nats-server and ports of its own; gone after the test. */
export async function startTestCoordinator(data = tempDir(), { tls, ...options }: TestCoordinatorOptions = {}) {
  const nats = options.nats ?? (await startNatsServer());
  const bus = { servers: [nats.url], user: nats.user, password: nats.password, trust: undefined };
  const listening = { host: "127.0.0.1", advertise: undefined, grpcPort: 0, httpPort: 0 };
  const managedNats = options.nats?.managed;
  const agentBus = managedNats === undefined ? bus : { servers: bus.servers, user: "", password: "" };
  const keeping = { ...keepAll, ...options.keeping };
  const secrets = { secretKeyFile: join(data, "secret.key"), forgetSecrets: false };
  const kept = { data, shellIdle: limits.shellIdleMs, tlsDir: join(data, "tls"), keeping, ...secrets };
  const config = { ...kept, ...listening, tls, lease: leaseTimes(), bus, agentBus, managedNats };
  const coordinator = await startCoordinator(config, pino({ level: "silent" }));
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= coordinator.stop());
  onTestFinished(stop);
  const address = `127.0.0.1:${coordinator.grpcPort}`;
  const trust = tls?.authority === undefined ? undefined : authorityTrust(tls.authority.caPem);
  const tokenOf = (role: "admin" | "agent"): string => readFileSync(join(data, "tokens", role), "utf8").trim();
  return {
    address,
    stop,
    http: `${tls === undefined ? "http" : "https"}://127.0.0.1:${coordinator.httpPort}`,
    tokenOf,
    as: (role: "admin") => clientsOf(address, tokenOf(role), trust),
    /** With the secret of an agent that was let in by the farm's own token. */
    async asAgent(id: string) {
      const { secret } = await enrol(clientsOf(address, tokenOf("agent"), trust).agents, { id });
      return clientsOf(address, secret, trust);
    },
    /** An enrolment token for one agent. */
    async enrolmentToken(wanted: { readonly name?: string; readonly pool?: string } = {}) {
      const { admin } = clientsOf(address, tokenOf("admin"), trust);
      return parseToken((await admin.createToken({ role: Role.AGENT, ...wanted })).secret).secret;
    },
    withToken: (token?: string) => clientsOf(address, token, trust),
    /** One more party on the bus. */
    async connectBus() {
      const party = await connectNatsBus({ ...bus, name: "test", onError: () => undefined });
      onTestFinished(() => party.close());
      return party;
    },
  };
}

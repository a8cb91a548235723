import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "@connectrpc/connect";
import { pino } from "pino";
import { onTestFinished } from "vitest";
import type { KeepingConfig } from "../../coordinator/config.ts";
import { startCoordinator } from "../../coordinator/wiring.ts";
import { AdminService } from "../../proto/gen/millrace/v1/admin_pb.ts";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { FlowService } from "../../proto/gen/millrace/v1/flow_pb.ts";
import { LogService } from "../../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { connectNatsBus } from "../../shared/bus/nats-bus.ts";
import { grpcCas } from "../../shared/cas/grpc-cas.ts";
import { limits } from "../../shared/limits.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { startNatsServer } from "./nats-server.ts";
import { tempDir } from "./temp-dir.ts";

/** Clients of a coordinator, all with one token. */
export type Clients = ReturnType<typeof clientsOf>;

function clientsOf(address: string, token?: string) {
  const transport = grpcTransport({ address, ...(token === undefined ? {} : { token }) });
  onTestFinished(() => transport.close());
  return {
    transport,
    runs: createClient(RunService, transport),
    logs: createClient(LogService, transport),
    agents: createClient(AgentService, transport),
    flow: createClient(FlowService, transport),
    admin: createClient(AdminService, transport),
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
};

/** A real coordinator in this process, on a real nats-server and ports of its own; gone after the test. */
export async function startTestCoordinator(data = tempDir(), keeping: Partial<KeepingConfig> = {}) {
  const nats = await startNatsServer();
  const bus = { servers: [nats.url], user: nats.user, password: nats.password };
  const config = {
    data,
    host: "127.0.0.1",
    grpcPort: 0,
    httpPort: 0,
    bus,
    agentBus: bus,
    keeping: { ...keepAll, ...keeping },
  };
  const coordinator = await startCoordinator(config, pino({ level: "silent" }));
  let stopping: Promise<void> | undefined;
  const stop = () => (stopping ??= coordinator.stop());
  onTestFinished(stop);
  const address = `127.0.0.1:${coordinator.grpcPort}`;
  const tokenOf = (role: "admin" | "agent"): string => readFileSync(join(data, "tokens", role), "utf8").trim();
  return {
    address,
    stop,
    http: `http://127.0.0.1:${coordinator.httpPort}`,
    tokenOf,
    as: (role: "admin" | "agent") => clientsOf(address, tokenOf(role)),
    withToken: (token?: string) => clientsOf(address, token),
    /** One more party on the bus. */
    async connectBus() {
      const party = await connectNatsBus({ ...bus, name: "test", onError: () => undefined });
      onTestFinished(() => party.close());
      return party;
    },
  };
}

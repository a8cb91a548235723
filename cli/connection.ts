import { type Client, createClient } from "@connectrpc/connect";
import { AdminService } from "../proto/gen/millrace/v1/admin_pb.ts";
import { AgentService } from "../proto/gen/millrace/v1/agent_pb.ts";
import { EnvironmentService } from "../proto/gen/millrace/v1/environment_pb.ts";
import { FlowService } from "../proto/gen/millrace/v1/flow_pb.ts";
import { LogService } from "../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../proto/gen/millrace/v1/run_pb.ts";
import { type ClosableTransport, grpcTransport } from "../shared/rpc/grpc-transport.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { resolveCredentials } from "./credentials.ts";

/** The coordinator's services, as the command line uses them. */
export interface Connection {
  readonly address: string;
  readonly transport: ClosableTransport;
  readonly runs: Client<typeof RunService>;
  readonly logs: Client<typeof LogService>;
  readonly agents: Client<typeof AgentService>;
  readonly flow: Client<typeof FlowService>;
  readonly environments: Client<typeof EnvironmentService>;
  readonly admin: Client<typeof AdminService>;
}

/** Gives a connection to `use` and closes it afterwards. Nothing is sent before the first call. */
export async function withConnection<T>(
  options: ConnectionOptions,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const { address, token } = resolveCredentials({ ...options, env: process.env });
  const transport = grpcTransport({ address, token });
  try {
    return await use({
      address,
      transport,
      runs: createClient(RunService, transport),
      logs: createClient(LogService, transport),
      agents: createClient(AgentService, transport),
      flow: createClient(FlowService, transport),
      environments: createClient(EnvironmentService, transport),
      admin: createClient(AdminService, transport),
    });
  } finally {
    transport.close();
  }
}

import { join } from "node:path";
import type { DescService } from "@bufbuild/protobuf";
import { type Client, createClient } from "@connectrpc/connect";
import { LogService } from "../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../proto/gen/millrace/v1/run_pb.ts";
import { explainedTransport } from "../shared/rpc/explained-transport.ts";
import { type ClosableTransport, grpcTransport } from "../shared/rpc/grpc-transport.ts";
import { parseToken } from "../shared/rpc/token.ts";
import { obtainTrust } from "../shared/tls/obtain-trust.ts";
import { tlsMismatch } from "../shared/tls/tls-mismatch.ts";
import { cacheFolder } from "./cache-folder.ts";
import type { ConnectionOptions } from "./connection-options.ts";
import { resolveCredentials } from "./credentials.ts";
import { unreachable } from "./unreachable.ts";

/** A coordinator, as the command line uses it. */
export interface Connection {
  readonly address: string;
  readonly transport: ClosableTransport;
  readonly runs: Client<typeof RunService>;
  readonly logs: Client<typeof LogService>;
  /** Of a service that few commands use: to load all of them would cost each command 15 ms. */
  client<S extends DescService>(service: S): Client<S>;
}

/** Gives a connection to `use` and closes it afterwards. Nothing is sent before the first call. */
export async function withConnection<T>(
  options: ConnectionOptions,
  use: (connection: Connection) => Promise<T>,
): Promise<T> {
  const { address, token, tlsCa } = resolveCredentials({ ...options, env: process.env });
  const { secret, fingerprint } = parseToken(token);
  const keptFile = join(cacheFolder(process.env), "farms", `${fingerprint}.pem`);
  const trust = await obtainTrust({ address, fingerprint, tlsCa, keptFile });
  const plain = grpcTransport({ address, token: secret, trust });
  const transport = explainedTransport(
    plain,
    async (error) => (await tlsMismatch(address, trust)) ?? unreachable(address, error),
  );
  try {
    return await use({
      address,
      transport,
      runs: createClient(RunService, transport),
      logs: createClient(LogService, transport),
      client: (service) => createClient(service, transport),
    });
  } finally {
    transport.close();
  }
}

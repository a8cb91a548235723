import type { Http2Server } from "node:http2";
import type { DescService } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { hostPort } from "../../../shared/network-address.ts";
import { mountGrpc } from "../../../shared/rpc/grpc-mount.ts";
import type { ServerTls } from "../../../shared/tls/server-tls.ts";

/** A service with its implementation, ready to be mounted on either server. */
export interface MountedService {
  readonly service: DescService;
  readonly impl: ServiceImpl<DescService>;
}

/** Pairs a service with an implementation of exactly that service. */
export function mounted<S extends DescService>(service: S, impl: ServiceImpl<S>): MountedService {
  return { service, impl };
}

export interface GrpcServer {
  /** Port 0 takes any free port; resolves with the one taken. Throws `unavailable` when it is in use. */
  listen(host: string, port: number): Promise<number>;
  /** Lets calls finish for at most `graceMs`, then cuts them off. */
  close(graceMs: number): Promise<void>;
}

/** What a server needs of its certificate to speak TLS. */
export type ServerKeys = Pick<ServerTls, "certPem" | "keyPem">;

/** The one native gRPC server: agents, CLI, Bazel and any foreign client speak to it over one port; plain without `tls`. */
export function grpcServer(services: readonly MountedService[], tls?: ServerKeys): GrpcServer {
  const server = new Server({
    "grpc.max_receive_message_length": limits.grpcMessageBytes,
    "grpc.max_send_message_length": limits.grpcMessageBytes,
    "grpc.keepalive_time_ms": limits.grpcPingMs,
    "grpc.keepalive_timeout_ms": limits.grpcPingTimeoutMs,
  });
  for (const { service, impl } of services) mountGrpc(server, service, impl);
  raiseWindows(server);
  const credentials = tls === undefined ? ServerCredentials.createInsecure() : ownCredentials(tls);
  return {
    listen: (host, port) =>
      new Promise((resolve, reject) => {
        server.bindAsync(hostPort(host, port), credentials, (error, bound) => {
          if (error === null) resolve(bound);
          else reject(from(error, `listening for gRPC on ${hostPort(host, port)}`));
        });
      }),
    close: (graceMs) =>
      new Promise((resolve) => {
        const force = setTimeout(() => server.forceShutdown(), graceMs);
        server.tryShutdown(() => {
          clearTimeout(force);
          resolve();
        });
      }),
  };
}

function ownCredentials({ certPem, keyPem }: ServerKeys): ServerCredentials {
  const pair = { cert_chain: Buffer.from(certPem), private_key: Buffer.from(keyPem) };
  return ServerCredentials.createSsl(null, [pair], false);
}

/**
 * grpc-js 1.14 reads `flow_control_window` in its client only; the server's windows stay at HTTP/2's 64 KiB, which caps
 * an upload near 165 MiB/s on loopback and, since that is also all that a connection takes, at 1 MiB/s over 50 ms. Settings
 * of new sessions and what makes servers are private; test/integration/rpc holds us to both.
 */
function raiseWindows(server: Server): void {
  const internals = server as unknown as ServerInternals;
  internals.commonServerOptions.settings = {
    ...internals.commonServerOptions.settings,
    initialWindowSize: limits.grpcWindowBytes,
  };
  const create = internals.createHttp2Server.bind(server);
  internals.createHttp2Server = (credentials) =>
    create(credentials).on("session", (session) => session.setLocalWindowSize(limits.grpcWindowBytes));
}

interface ServerInternals {
  readonly commonServerOptions: { settings?: Record<string, unknown> };
  createHttp2Server(credentials: ServerCredentials): Http2Server;
}

import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { createRegistry } from "@bufbuild/protobuf";
import { createConnectRouter } from "@connectrpc/connect";
import type { UniversalHandler } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from "@connectrpc/connect-node";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { MountedService, ServerKeys } from "../grpc/grpc-server.ts";

/** A page beside the services: `/metrics`, `/healthz`. */
export interface HttpPage {
  /** One that ends with a slash answers for all paths below it. */
  readonly path: string;
  respond(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

export interface HttpServerOptions {
  readonly services: readonly MountedService[];
  readonly pages: readonly HttpPage[];
  /** Told of failures that no client can be told of any more. */
  readonly onError: (error: Error) => void;
  /** Plain without. */
  readonly tls?: ServerKeys | undefined;
}

export interface HttpServer {
  /** Port 0 takes any free port; resolves with the one taken. */
  listen(host: string, port: number): Promise<number>;
  close(): Promise<void>;
}

/** The same services for browsers and curl: Connect, gRPC-Web and JSON over HTTP/1.1. */
export function httpServer({ services, pages, onError, tls }: HttpServerOptions): HttpServer {
  const router = createConnectRouter({
    // gzip would cost more than the network it saves: downloads fell to 28 MiB/s with it.
    acceptCompression: [],
    readMaxBytes: limits.grpcMessageBytes,
    jsonOptions: { registry: createRegistry(...services.map(({ service }) => service)) },
  });
  for (const { service, impl } of services) router.service(service, impl);
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]));
  const byPath = new Map(pages.map((page) => [page.path, page]));

  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const path = (request.url ?? "/").split("?", 1)[0] ?? "/";
    const handler = handlers.get(path);
    const page = byPath.get(path) ?? pages.find((one) => one.path.endsWith("/") && path.startsWith(one.path));
    const done = handler ? call(handler, request, response) : page?.respond(request, response);
    if (done === undefined) {
      response.writeHead(404, { "content-type": "text/plain" }).end(`nothing at ${path}\n`);
      return;
    }
    done.catch((error: unknown) => {
      // A reader that went away is no failure of ours.
      if (!request.destroyed && !response.destroyed) onError(from(error, `answering ${path}`));
      response.destroy();
    });
  };
  const server =
    tls === undefined ? createServer(answer) : createTlsServer({ cert: tls.certPem, key: tls.keyPem }, answer);
  return { listen: (host, port) => listen(server, host, port), close: () => close(server) };
}

async function call(handler: UniversalHandler, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const answer = await handler(universalRequestFromNodeRequest(request, response, undefined, undefined));
  await universalResponseToNodeResponse(answer, response);
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  server.listen(port, host);
  await once(server, "listening").catch((error: unknown) => {
    throw from(error, `listening for HTTP on ${host}:${port}`);
  });
  const address = server.address();
  return address !== null && typeof address === "object" ? address.port : port;
}

async function close(server: Server): Promise<void> {
  const closed = once(server, "close");
  server.close();
  server.closeAllConnections();
  await closed;
}

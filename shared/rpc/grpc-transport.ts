import { isIP } from "node:net";
import { createSecureContext } from "node:tls";
import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError, createContextValues, type Transport } from "@connectrpc/connect";
import { runStreamingCall, runUnaryCall } from "@connectrpc/connect/protocol";
import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  connectivityState,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import { limits } from "../limits.ts";
import { splitAddress } from "../network-address.ts";
import { type Trust, verification } from "../tls/trust.ts";
import { encodeMessage } from "./encode-message.ts";
import { connectErrorOf, type HeadersInput, headersFromMetadata, metadataFromHeaders } from "./grpc-status.ts";
import { pullMessages } from "./pull-messages.ts";

export interface GrpcTransportOptions {
  /** `host:port` of the coordinator. */
  readonly address: string;
  /** Sent as `authorization: Bearer …` with every call that says no other; asked for each where it may change. */
  readonly token?: string | (() => string | undefined);
  /** By whom the server is vouched for; without it the connection is plain. */
  readonly trust?: Trust | undefined;
  /** Shorter times for tests; default those of limits.ts. */
  readonly ping?: { readonly everyMs: number; readonly timeoutMs: number };
}

/** A transport that holds a connection; its owner closes it. */
export interface ClosableTransport extends Transport {
  close(): void;
  /** Whether a server of gRPC was there at some time: what fails with `unavailable` afterwards is an outage. */
  wasConnected(): boolean;
}

/**
 * Native gRPC on grpc-js for the clients of Connect (`createClient(RunService, grpcTransport(…))`): half the processor
 * time of connect-node's own gRPC transport. Errors are ConnectError with their google.rpc details. The connection is
 * made at the first call and again after a loss; a call while it is down fails with `unavailable`. One that dies without a word
 * (a cable, a machine, a firewall that forgets) is found out by pings, and its calls fail so, too.
 */
export function grpcTransport(options: GrpcTransportOptions): ClosableTransport {
  const { address, trust } = options;
  const client = new Client(address, channelCredentials(address, trust), {
    // Else an address would be named in the handshake, against RFC 6066; whom it is compared with stands in the credentials.
    ...(trust !== undefined && isIP(splitAddress(address).host) !== 0
      ? { "grpc.ssl_target_name_override": "millrace.invalid" }
      : {}),
    "grpc-node.flow_control_window": limits.grpcWindowBytes,
    "grpc.max_receive_message_length": limits.grpcMessageBytes,
    "grpc.max_send_message_length": limits.grpcMessageBytes,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 2_000,
    "grpc.keepalive_time_ms": options.ping?.everyMs ?? limits.grpcPingMs,
    "grpc.keepalive_timeout_ms": options.ping?.timeoutMs ?? limits.grpcPingTimeoutMs,
  });

  let connected = false;
  onceReady(client.getChannel(), () => {
    connected = true;
  });

  const prepared = (method: DescMethod, header: HeadersInput | undefined, values = createContextValues()) => {
    const headers = new Headers(header);
    const token = typeof options.token === "function" ? options.token() : options.token;
    if (token !== undefined && !headers.has("authorization")) headers.set("authorization", `Bearer ${token}`);
    return {
      service: method.parent,
      requestMethod: "POST",
      url: `grpc://${options.address}/${method.parent.typeName}/${method.name}`,
      header: headers,
      contextValues: values,
    };
  };

  return {
    close: () => client.close(),
    wasConnected: () => connected,
    unary(method, signal, timeoutMs, header: HeadersInput, input, contextValues) {
      return runUnaryCall({
        ...bounds(signal, timeoutMs),
        req: { ...prepared(method, header, contextValues), stream: false, method, message: input },
        next: async (request) => {
          const responseHeader = new Headers();
          const trailer = new Headers();
          const message = await new Promise<MessageShape<typeof method.output>>((resolve, reject) => {
            const call = client.makeUnaryRequest(
              `/${method.parent.typeName}/${method.name}`,
              (value: typeof request.message) => encodeMessage(method.input, value),
              (bytes) => fromBinary(method.output, bytes),
              request.message,
              metadataFromHeaders(request.header),
              deadline(timeoutMs),
              (error, value) => (error === null && value !== undefined ? resolve(value) : reject(failure(error))),
            );
            call.on("metadata", (metadata) => copyHeaders(headersFromMetadata(metadata), responseHeader));
            call.on("status", ({ metadata }) => copyHeaders(headersFromMetadata(metadata), trailer));
            onAbort(request.signal, () => call.cancel());
          });
          return { service: method.parent, stream: false, method, header: responseHeader, message, trailer };
        },
      });
    },
    stream(method, signal, timeoutMs, header: HeadersInput, input, contextValues) {
      return runStreamingCall({
        ...bounds(signal, timeoutMs),
        req: { ...prepared(method, header, contextValues), stream: true, method, message: input },
        next: async (request) => {
          const call = client.makeBidiStreamRequest(
            `/${method.parent.typeName}/${method.name}`,
            (value: MessageShape<typeof method.input>) => encodeMessage(method.input, value),
            (bytes) => fromBinary(method.output, bytes),
            metadataFromHeaders(request.header),
            deadline(timeoutMs),
          );
          const trailer = new Headers();
          call.on("status", ({ metadata }) => copyHeaders(headersFromMetadata(metadata), trailer));
          onAbort(request.signal, () => call.cancel());
          const source: RequestSource = {};
          void send(method, call, request.message, request.signal, source);
          return {
            service: method.parent,
            stream: true,
            method,
            header: new Headers(),
            message: receive(call, pullMessages<MessageShape<typeof method.output>>(call, request.signal), source),
            trailer,
          };
        },
      });
    },
  };
}

/** A channel is ready when the other side has sent its settings of HTTP/2, before it answers any call. */
function onceReady(channel: ReturnType<Client["getChannel"]>, call: () => void): void {
  const state = channel.getConnectivityState(false);
  if (state === connectivityState.READY) call();
  else if (state !== connectivityState.SHUTDOWN) {
    channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => onceReady(channel, call));
  }
}

function channelCredentials(address: string, trust: Trust | undefined): ChannelCredentials {
  if (trust === undefined) return credentials.createInsecure();
  const { ca, checkServerIdentity } = verification(trust, [splitAddress(address).host]);
  return credentials.createFromSecureContext(createSecureContext(ca === undefined ? {} : { ca }), {
    checkServerIdentity,
  });
}

/** Where the requests come from: what went wrong there is what the reader of the answers wants to know. */
interface RequestSource {
  failure?: unknown;
}

/** Writes the requests at the pace of the other side. When their source fails the call is cancelled, never half-closed. */
async function send<I extends DescMessage>(
  method: DescMethod & { input: I },
  call: ClientDuplexStream<MessageShape<I>, unknown>,
  requests: AsyncIterable<MessageInitShape<I>>,
  signal: AbortSignal,
  source: RequestSource,
): Promise<void> {
  let over = false;
  call.on("status", () => {
    over = true;
  });
  try {
    for await (const request of requests) {
      if (over || signal.aborted) return;
      const message = create(method.input, request);
      if (!call.write(message)) await roomToWrite(call, signal);
    }
    call.end();
  } catch (error) {
    source.failure = error;
    call.cancel();
  }
}

/** Resolves when the call takes more, and also when it is over: the next look at it tells. */
function roomToWrite<I>(call: ClientDuplexStream<I, unknown>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      call.off("drain", done).off("status", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    call.on("drain", done).on("status", done);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}

/** The answers; `messages` listens already. */
async function* receive<O>(
  call: { cancel(): void },
  messages: AsyncGenerator<O>,
  source: RequestSource,
): AsyncGenerator<O> {
  try {
    yield* messages;
  } catch (error) {
    throw failure(source.failure ?? error);
  } finally {
    // A reader that leaves early must not leave the server's generator suspended.
    call.cancel();
  }
}

function failure(error: unknown): ConnectError {
  if (error instanceof ConnectError) return error;
  if (isServiceError(error)) return connectErrorOf(error);
  return ConnectError.from(error, Code.Unknown);
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "code" in error && "metadata" in error && error.metadata instanceof Metadata;
}

function bounds(signal: AbortSignal | undefined, timeoutMs: number | undefined) {
  return { ...(signal === undefined ? {} : { signal }), ...(timeoutMs === undefined ? {} : { timeoutMs }) };
}

function deadline(timeoutMs: number | undefined): CallOptions {
  return timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
}

function onAbort(signal: AbortSignal, call: () => void): void {
  if (signal.aborted) call();
  else signal.addEventListener("abort", call, { once: true });
}

function copyHeaders(from: Headers, to: Headers): void {
  from.forEach((value, key) => to.append(key, value));
}

import { once } from "node:events";
import { create, type DescMethod, type DescService, fromBinary, type Message } from "@bufbuild/protobuf";
import { Code, ConnectError, createHandlerContext, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import type {
  Metadata,
  MethodDefinition,
  Server,
  ServerDuplexStream,
  ServerReadableStream,
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { encodeMessage } from "./encode-message.ts";
import { grpcStatusOf, headersFromMetadata, metadataFromHeaders } from "./grpc-status.ts";
import { pullMessages } from "./pull-messages.ts";

type Call = ServerUnaryCall<Message, Message> &
  ServerReadableStream<Message, Message> &
  ServerWritableStream<Message, Message> &
  ServerDuplexStream<Message, Message>;
/** A handler of any of the four kinds; which one it is says `DescMethod.methodKind`. */
type Handler = (input: unknown, context: HandlerContext) => unknown;

/**
 * Mounts a service that is written once, as Connect's ServiceImpl, on a grpc-js server. The same object is mounted for
 * browsers by coordinator/api/http. Deadlines and cancellation reach the handler as `context.signal`; errors keep their
 * code and google.rpc details; a stream of answers waits for a slow reader.
 */
export function mountGrpc<S extends DescService>(server: Server, service: S, impl: ServiceImpl<S>): void {
  const definition: Record<string, MethodDefinition<Message, Message>> = {};
  const handlers: Record<string, (call: Call, callback?: sendUnaryData<Message>) => void> = {};
  for (const method of service.methods) {
    const handler = (impl as Record<string, Handler>)[method.localName];
    if (handler === undefined) throw new Error(`${service.typeName}.${method.name} has no implementation`);
    definition[method.name] = {
      path: `/${service.typeName}/${method.name}`,
      originalName: method.localName,
      requestStream: takesStream(method),
      responseStream: givesStream(method),
      requestSerialize: (message: Message) => encodeMessage(method.input, message),
      requestDeserialize: (bytes: Buffer) => fromBinary(method.input, bytes),
      responseSerialize: (message: Message) => encodeMessage(method.output, message),
      responseDeserialize: (bytes: Buffer) => fromBinary(method.output, bytes),
    };
    const bound = handler.bind(impl);
    handlers[method.name] = (call, callback) => {
      void answer(method, bound, call, callback);
    };
  }
  server.addService(definition, handlers as UntypedServiceImplementation);
}

async function answer(
  method: DescMethod,
  handler: Handler,
  call: Call,
  callback?: sendUnaryData<Message>,
): Promise<void> {
  const cancelled = new AbortController();
  call.on("cancelled", () => cancelled.abort(new ConnectError("cancelled by the client", Code.Canceled)));
  const context = createHandlerContext({
    service: method.parent,
    method,
    protocolName: "grpc",
    requestMethod: "POST",
    url: call.getPath(),
    requestHeader: headersFromMetadata(call.metadata),
    requestSignal: cancelled.signal,
    ...timeoutOf(call.getDeadline()),
  });
  try {
    const input = takesStream(method) ? pullMessages<Message>(call, context.signal) : call.request;
    if (callback !== undefined) {
      const output = (await handler(input, context)) as Message;
      sendHeaders(call, context);
      callback(null, create(method.output, output), trailerOf(context));
    } else {
      await stream(method, handler(input, context) as AsyncIterable<Message>, call, context);
    }
  } catch (error) {
    const status = grpcStatusOf(context.signal.aborted ? context.signal.reason : error, context.responseTrailer);
    if (callback !== undefined) callback(status);
    else call.emit("error", status);
  } finally {
    context.abort();
  }
}

async function stream(method: DescMethod, outputs: AsyncIterable<Message>, call: Call, context: HandlerContext) {
  let first = true;
  for await (const output of outputs) {
    context.signal.throwIfAborted();
    if (first) sendHeaders(call, context);
    first = false;
    if (!call.write(create(method.output, output))) await once(call, "drain", { signal: context.signal });
  }
  context.signal.throwIfAborted();
  if (first) sendHeaders(call, context);
  call.end(trailerOf(context));
}

/** Sends the headers that the handler set, before the first message. */
function sendHeaders(call: Call, context: HandlerContext): void {
  call.sendMetadata(metadataFromHeaders(context.responseHeader));
}

function trailerOf(context: HandlerContext): Metadata {
  return metadataFromHeaders(context.responseTrailer);
}

function timeoutOf(deadline: Date | number): { timeoutMs?: number } {
  const atMs = Number(deadline);
  return Number.isFinite(atMs) ? { timeoutMs: Math.max(0, atMs - Date.now()) } : {};
}

function takesStream(method: DescMethod): boolean {
  return method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
}

function givesStream(method: DescMethod): boolean {
  return method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
}

import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { createContextKey, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { from, MillraceError } from "../../shared/errors.ts";
import { toConnectError } from "../../shared/rpc/connect-error.ts";
import type { Principal } from "../delivery/access/principal.ts";
import type { AuditLog } from "../delivery/audit/audit-log.ts";
import { accessOf } from "./access.ts";
import { admit, type Belongings, projectOfRequest, requireRight } from "./admission.ts";
import { type KnownCall, recordedCalls } from "./audited.ts";
import { checkedMessages, firstMessage } from "./first-message.ts";

const principalKey = createContextKey<Principal | undefined>(undefined, { description: "who makes the call" });

/** Who makes this call. Throws `internal` in a service that was mounted without a guard. */
export function principalOf(context: HandlerContext): Principal {
  const principal = context.values.get(principalKey);
  if (principal === undefined)
    throw new MillraceError("internal", `${context.method.name} was mounted without a guard`);
  return principal;
}

/** One line an outcome: for metrics and logs. */
export interface CallObserver {
  ended(call: { readonly method: string; readonly code: string; readonly seconds: number }): void;
}

export interface GuardOptions {
  /** Whose secret it is. Throws `unauthenticated`, with the reason, when it is nobody's. */
  readonly authenticate: (secret: string) => Principal;
  /** For calls of those who are bound to projects, and for the audit. */
  readonly belongings: Belongings;
  readonly audit: Pick<AuditLog, "record">;
  readonly observer: CallObserver;
}

type Handler = (input: unknown, context: HandlerContext) => unknown;

/**
 * The one place where it is decided who may do what: no token, no call; no right, no call; not one's project, no call. A
 * stream ends with the token that it began with, at its next message. Works on the implementation, so both servers have the same guard; it also turns every error into one that carries its
 * code over the wire.
 */
export function guarded<S extends DescService>(
  service: S,
  impl: ServiceImpl<S>,
  options: GuardOptions,
): ServiceImpl<S> {
  const wrapped: Record<string, Handler> = {};
  for (const method of service.methods) {
    const handler = (impl as Record<string, Handler>)[method.localName];
    if (handler === undefined) throw new MillraceError("internal", `${service.typeName}.${method.name} is missing`);
    const observe = observed(`${service.typeName}/${method.name}`, options.observer);
    const pass = gateFor(method, options);
    const recorded = recordedCalls(method, options);
    // A stream may outlive the token that it began with.
    const stillKnown = (context: HandlerContext) => {
      if (accessOf(method).right !== undefined) identify(context, options);
    };
    const streams = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
    wrapped[method.localName] = streams
      ? (input, context) =>
          observe.stream(() =>
            recorded.stream(context, async function* (call) {
              const admitted = await pass(input, context, call);
              const answers = handler.call(impl, admitted, context) as AsyncIterable<unknown>;
              for await (const answer of answers) {
                stillKnown(context);
                yield answer;
              }
            }),
          )
      : (input, context) =>
          observe.single(() =>
            recorded.single(context, async (call) => {
              const admitted = await pass(input, context, call);
              return await handler.call(impl, admitted, context);
            }),
          );
  }
  return wrapped as ServiceImpl<S>;
}

/** Resolves with the input for the handler when the call may pass, and notes what is known of it on the way. */
function gateFor(
  method: DescMethod,
  options: GuardOptions,
): (input: unknown, context: HandlerContext, call: KnownCall) => Promise<unknown> {
  const access = accessOf(method);
  const sendsStream = method.methodKind === "client_streaming" || method.methodKind === "bidi_streaming";
  const { belongings } = options;
  return async (input, context, call) => {
    const { right } = access;
    if (right === undefined) return input;
    const principal = identify(context, options);
    call.principal = principal.name;
    const asked = { principal, access, method: method.name };
    const check = async (request: unknown): Promise<void> => {
      call.request = request;
      try {
        requireRight(asked, right);
        call.project = await admit(asked, request, belongings);
      } catch (error) {
        call.project = await projectOfRequest(access, request, belongings);
        throw error;
      }
    };
    context.values.set(principalKey, principal);
    if (!sendsStream) {
      await check(input);
      return input;
    }
    requireRight(asked, right); // before anything is taken in
    // A stream of both sides goes on its way at once, unless people open it: only those are about one project.
    if (method.methodKind === "bidi_streaming" && !access.audited) return input;
    const { first, all } = await firstMessage(input as AsyncIterable<unknown>);
    if (first !== undefined) await check(first);
    return checkedMessages(all, () => identify(context, options));
  };
}

function identify(context: HandlerContext, { authenticate }: GuardOptions): Principal {
  const [scheme = "", text = ""] = (context.requestHeader.get("authorization") ?? "").split(" ");
  const [token = ""] = text.split(".", 1); // clients of others send a token as they were given it, fingerprint and all
  if (scheme.toLowerCase() !== "bearer" || token === "") {
    throw new MillraceError(
      "unauthenticated",
      "this call needs a token: send the header `authorization: Bearer <token>` (CLI: --token or MILLRACE_TOKEN)",
    );
  }
  return authenticate(token);
}

function observed(method: string, observer: CallObserver) {
  const begin = () => {
    const start = performance.now();
    return (code: string) => observer.ended({ method, code, seconds: (performance.now() - start) / 1000 });
  };
  return {
    async single(call: () => Promise<unknown>): Promise<unknown> {
      const end = begin();
      try {
        const output = await call();
        end("ok");
        return output;
      } catch (error) {
        throw ended(error, end);
      }
    },
    async *stream(call: () => AsyncIterable<unknown>): AsyncGenerator<unknown> {
      const end = begin();
      try {
        yield* call();
        end("ok");
      } catch (error) {
        throw ended(error, end);
      }
    },
  };
}

function ended(error: unknown, end: (code: string) => void): Error {
  end(from(error).code);
  return toConnectError(error);
}

import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { createContextKey, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";
import { from, MillraceError, toConnectError } from "../../shared/errors.ts";
import type { Principal, Role } from "../delivery/access/principal.ts";

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
  /** Which roles may call it; undefined means that it is open to everybody. */
  readonly rolesOf: (method: DescMethod) => readonly Role[] | undefined;
  readonly observer: CallObserver;
}

/**
 * Stands in front of a service: no token, no call. Works on the implementation, so both servers have the same guard;
 * it also turns every error into one that carries its code over the wire.
 */
export function guarded<S extends DescService>(
  service: S,
  impl: ServiceImpl<S>,
  options: GuardOptions,
): ServiceImpl<S> {
  type Handler = (input: unknown, context: HandlerContext) => unknown;
  const wrapped: Record<string, Handler> = {};
  for (const method of service.methods) {
    const handler = (impl as Record<string, Handler>)[method.localName];
    if (handler === undefined) throw new MillraceError("internal", `${service.typeName}.${method.name} is missing`);
    const name = `${service.typeName}/${method.name}`;
    const observe = observed(name, options.observer);
    const call: Handler = (input, context) => {
      admit(method, context, options);
      return handler.call(impl, input, context);
    };
    const streams = method.methodKind === "server_streaming" || method.methodKind === "bidi_streaming";
    wrapped[method.localName] = streams
      ? (input, context) => observe.stream(() => call(input, context) as AsyncIterable<unknown>)
      : (input, context) => observe.single(async () => call(input, context));
  }
  return wrapped as ServiceImpl<S>;
}

function admit(method: DescMethod, context: HandlerContext, { authenticate, rolesOf }: GuardOptions): void {
  const roles = rolesOf(method);
  if (roles === undefined) return;
  const [scheme = "", text = ""] = (context.requestHeader.get("authorization") ?? "").split(" ");
  const [token = ""] = text.split(".", 1); // clients of others send a token as they were given it, fingerprint and all
  if (scheme.toLowerCase() !== "bearer" || token === "") {
    throw new MillraceError(
      "unauthenticated",
      "this call needs a token: send the header `authorization: Bearer <token>` (CLI: --token or MILLRACE_TOKEN)",
    );
  }
  const principal = authenticate(token);
  if (!roles.includes(principal.role)) {
    throw new MillraceError(
      "permission_denied",
      `${principal.name} has the role ${principal.role}; ${method.name} needs ${roles.join(" or ")}`,
    );
  }
  context.values.set(principalKey, principal);
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

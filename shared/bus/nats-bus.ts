import type { Socket } from "node:net";
import { connect, errors, type Msg, type NatsConnection, nkeyAuthenticator, type TlsOptions } from "nats";
import { systemClock } from "../clock.ts";
import { from, MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import { splitAddress } from "../network-address.ts";
import { type Trust, verification } from "../tls/trust.ts";
import type { Bus, BusMessage } from "./bus.ts";
import { connectionState } from "./connection-state.ts";
import { deliver } from "./deliver.ts";
import { paceReads } from "./paced-reads.ts";
import { checkPattern, checkPayload, checkSubject } from "./subject-match.ts";
import { waitingCalls } from "./waiting-calls.ts";

/** How a party says who it is. */
export type BusLogin =
  | { readonly user: string; readonly password: string }
  /** Of a `BusKey`, asked for at each connection; such a user gets its answers below `inbox` alone. */
  | { readonly seed: () => string; readonly inbox: string };

export type NatsBusOptions = NatsServers & BusLogin;

export interface NatsServers {
  /** As `nats://host:port` or `tls://host:port`; any of them will do. */
  readonly servers: readonly string[];
  /** By whom the servers are vouched for: with it a connection that is not TLS is refused, whatever the URLs say. */
  readonly trust?: Trust | undefined;
  /** Under which the server's monitoring shows the connection. */
  readonly name: string;
  /** Told of handlers that throw, refused permissions and what else the server complains about. Must not throw. */
  readonly onError: (error: MillraceError) => void;
}

/**
 * A bus on a NATS server. It reconnects for ever and restores the subscriptions; only the first connection may fail:
 * with `unauthenticated` when the server refuses the password, else `unavailable`.
 */
export async function connectNatsBus(options: NatsBusOptions): Promise<Bus> {
  const { onError } = options;
  const connection = await dial(options);
  const state = connectionState(true);
  const waiting = waitingCalls(systemClock);
  let closing: Promise<void> | undefined;
  const ending = Promise.withResolvers<false>();

  function down(reason: string): void {
    state.set(false);
    waiting.failAll(reason); // their answers were lost with the connection
  }

  async function followStatus(): Promise<void> {
    for await (const status of connection.status()) {
      if (status.type === "disconnect") down(`the connection to ${status.server} was lost`);
      else if (status.type === "error") onError(complaint(status.error));
      else if (status.type === "reconnect") {
        pace(connection);
        // The subscriptions travel ahead of the flush, so "up" means that they are in force again.
        // The client waits for us to have read the last status before it closes, and then no answer may come any more.
        if (await Promise.race([flushed(connection), ending.promise])) state.set(true);
      }
    }
  }
  pace(connection);
  const statusEnded = followStatus();
  const connectionEnded = connection.closed().then((error) => {
    if (closing !== undefined) return;
    down("the connection ended");
    onError(new MillraceError("unavailable", "the bus gave up its connection; restart the program", { cause: error }));
  });

  const incoming = (message: Msg): BusMessage => ({
    subject: message.subject,
    data: copy(message.data),
    reply(data) {
      checkPayload(message.subject, data);
      if (state.isUp()) message.respond(data);
    },
  });

  return {
    publish(subject, data) {
      checkSubject(subject);
      checkPayload(subject, data);
      // While it is down the client would keep the message and send it late: what is late is wrong.
      if (state.isUp()) connection.publish(subject, data);
    },
    async request(subject, data, requestOptions) {
      const doing = `a request to ${subject}`;
      checkSubject(subject);
      checkPayload(subject, data);
      if (!state.isUp()) throw downError(doing);
      const answer = connection.request(subject, data, { timeout: requestOptions.timeoutMs });
      const message = await waiting.wait(doing, answer, requestOptions).catch(clientError(doing));
      return copy(message.data);
    },
    async subscribe(pattern, handler) {
      const doing = `subscribing to ${pattern}`;
      checkPattern(pattern);
      if (!state.isUp()) throw downError(doing);
      const subscription = connection.subscribe(pattern, {
        callback(error, message) {
          if (error === null) deliver(handler, incoming(message), onError);
        },
      });
      try {
        await waiting.wait(doing, connection.flush(), { timeoutMs: limits.busConnectMs }).catch(clientError(doing));
        if (subscription.isClosed()) {
          throw new MillraceError("permission_denied", `${doing}: the server does not allow it`);
        }
      } catch (error) {
        subscription.unsubscribe();
        throw error;
      }
      return () => subscription.unsubscribe();
    },
    watchConnection: (listener) => state.watch(listener),
    close() {
      closing ??= (async () => {
        waiting.failAll("the bus was closed");
        if (state.isUp()) await flushedWithin(connection, limits.busFlushMs);
        state.set(false);
        ending.resolve(false);
        await connection.close();
        await Promise.all([statusEnded, connectionEnded]);
      })();
      return closing;
    },
  };
}

async function dial(options: NatsBusOptions): Promise<NatsConnection> {
  const { servers, name, trust } = options;
  try {
    return await connect({
      servers: [...servers],
      name,
      ...loginOptions(options),
      ...(trust === undefined ? {} : { tls: tlsOptions(trust, servers) }),
      timeout: limits.busConnectMs,
      maxReconnectAttempts: -1,
      ignoreAuthErrorAbort: true, // a server that restarts with other users must not end us for good
      reconnectTimeWait: limits.busReconnectMs,
      reconnectJitter: 2 * limits.busReconnectMs,
      reconnectJitterTLS: 2 * limits.busReconnectMs,
      pingInterval: limits.busPingMs,
      maxPingOut: 2,
      noAsyncTraces: true, // a stack for each request costs more than the request
    });
  } catch (error) {
    const refused = error instanceof errors.AuthorizationError;
    const what = refused ? refusalOf(options) : from(error).message;
    const message = `connecting to NATS at ${servers.join(", ")}: ${what}`;
    throw new MillraceError(refused ? "unauthenticated" : "unavailable", message, { cause: error });
  }
}

/**
 * The socket of the present connection, which the client's interface does not tell: gone when the connection is. A test holds
 * that it is there.
 */
function pace(connection: NatsConnection): void {
  const { protocol } = connection as unknown as { readonly protocol: { readonly transport: { socket?: Socket } } };
  const { socket } = protocol.transport;
  if (socket !== undefined) paceReads(socket, systemClock);
}

function loginOptions(login: BusLogin) {
  if (!("seed" in login)) return { user: login.user, pass: login.password };
  const { seed, inbox } = login;
  return { authenticator: nkeyAuthenticator(() => new TextEncoder().encode(seed())), inboxPrefix: inbox };
}

function refusalOf(login: BusLogin): string {
  return "seed" in login
    ? "the server does not know our key"
    : `the server refuses user "${login.user}"; check the password`;
}

/** The client passes on to Node's TLS whatever it is given here, beyond what its type knows. */
function tlsOptions(trust: Trust, servers: readonly string[]): TlsOptions {
  const hosts = servers.map((server) => splitAddress(server.replace(/^[a-z]+:\/\//, "")).host);
  return verification(trust, hosts);
}

/** The client hands out views into network frames, as Buffers: one kept message would keep its frame. */
function copy(data: Uint8Array): Uint8Array {
  return new Uint8Array(data);
}

/** Whether all that was sent so far has reached the server. */
async function flushed(connection: NatsConnection): Promise<boolean> {
  return connection.flush().then(
    () => true,
    () => false,
  );
}

async function flushedWithin(connection: NatsConnection, timeoutMs: number): Promise<void> {
  const late = Promise.withResolvers<void>();
  const cancelTimer = systemClock.after(timeoutMs, late.resolve);
  await Promise.race([flushed(connection), late.promise]);
  cancelTimer();
}

/** What the server has against us, while the connection was in use or made again. */
function complaint(error: Error): MillraceError {
  if (!(error instanceof errors.AuthorizationError)) return from(error, "the bus");
  return new MillraceError("unauthenticated", "the bus does not let us in any more", { cause: error });
}

/** Gives errors of the client library our codes; ours pass through. */
function clientError(doing: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof MillraceError) throw error;
    if (error instanceof errors.TimeoutError) {
      throw new MillraceError("deadline_exceeded", `${doing}: no answer in time`, { cause: error });
    }
    const cause = error instanceof errors.RequestError ? error.cause : error;
    if (cause instanceof errors.PermissionViolationError) {
      throw new MillraceError("permission_denied", `${doing}: the server does not allow it`, { cause: error });
    }
    const reason = cause instanceof errors.NoRespondersError ? "nobody listens" : from(error).message;
    throw new MillraceError("unavailable", `${doing}: ${reason}`, { cause: error });
  };
}

function downError(doing: string): MillraceError {
  return new MillraceError("unavailable", `${doing}: the bus is down`);
}

import { type Clock, systemClock } from "../clock.ts";
import { MillraceError } from "../errors.ts";
import { limits } from "../limits.ts";
import type { Bus } from "./bus.ts";
import { type ConnectionState, connectionState } from "./connection-state.ts";
import { type BusHandler, deliver } from "./deliver.ts";
import { checkPattern, checkPayload, checkSubject, subjectMatches } from "./subject-match.ts";
import { waitingCalls } from "./waiting-calls.ts";

/** What stands in for the server: every bus connected to the same broker hears the others. For tests and simulations. */
export interface InProcessBroker {
  /** A bus for one more party. `onError` is told of its handlers that throw. */
  connect(onError?: (error: MillraceError) => void): Bus;
  /** Takes the bus down for everyone, or brings it up again, as a server that is killed and restarted. */
  setUp(up: boolean): void;
}

interface Subscription {
  readonly pattern: string;
  readonly handler: BusHandler;
  readonly onError: (error: MillraceError) => void;
}

interface Envelope {
  readonly subject: string;
  readonly data: Uint8Array;
  reply(data: Uint8Array): void;
  /** Called when no subscription matches. */
  unheard(): void;
}

/** Messages are handed over in the order of sending, and never inside `publish`: a handler may publish in turn. */
export function inProcessBus(clock: Clock = systemClock): InProcessBroker {
  const subscriptions = new Set<Subscription>();
  const state = connectionState(true);
  let queue: Envelope[] = [];

  function send(envelope: Envelope): void {
    if (!state.isUp() || queue.length >= limits.busBacklog) return;
    queue.push(envelope);
    if (queue.length === 1) setImmediate(handOver);
  }

  function handOver(): void {
    const due = queue;
    queue = [];
    for (const { unheard, subject, data, reply } of due) {
      const matching = [...subscriptions].filter(({ pattern }) => subjectMatches(pattern, subject));
      if (matching.length === 0) unheard();
      for (const each of matching) {
        // A handler may have ended another subscription meanwhile.
        if (subscriptions.has(each)) deliver(each.handler, { subject, data: data.slice(), reply }, each.onError);
      }
    }
  }

  return {
    connect: (onError = rethrow) => party({ subscriptions, state, send, clock, onError }),
    setUp(up) {
      if (!up) queue = []; // what was on its way is lost
      state.set(up);
    },
  };
}

interface PartyParts {
  readonly subscriptions: Set<Subscription>;
  readonly state: ConnectionState;
  send(envelope: Envelope): void;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
}

function party({ subscriptions, state, send, clock, onError }: PartyParts): Bus {
  const waiting = waitingCalls(clock);
  const mine = new Set<Subscription>();
  const own = connectionState(state.isUp());
  const unwatch = state.watch((up) => {
    own.set(up);
    if (!up) waiting.failAll("the bus went down");
  });

  return {
    publish(subject, data) {
      checkSubject(subject);
      checkPayload(subject, data);
      if (own.isUp()) send({ subject, data: data.slice(), reply: () => undefined, unheard: () => undefined });
    },
    async request(subject, data, options) {
      const doing = `a request to ${subject}`;
      checkSubject(subject);
      checkPayload(subject, data);
      if (!own.isUp()) throw downError(doing);
      const answer = Promise.withResolvers<Uint8Array>();
      const waited = waiting.wait(doing, answer.promise, options);
      send({
        subject,
        data: data.slice(),
        reply(reply) {
          checkPayload(subject, reply);
          if (state.isUp()) setImmediate(answer.resolve, reply.slice());
        },
        unheard: () => answer.reject(new MillraceError("unavailable", `${doing}: nobody listens`)),
      });
      return waited;
    },
    async subscribe(pattern, handler) {
      checkPattern(pattern);
      if (!own.isUp()) throw downError(`subscribing to ${pattern}`);
      const subscription: Subscription = { pattern, handler, onError };
      subscriptions.add(subscription);
      mine.add(subscription);
      return () => {
        subscriptions.delete(subscription);
        mine.delete(subscription);
      };
    },
    watchConnection: (listener) => own.watch(listener),
    async close() {
      unwatch();
      own.set(false);
      waiting.failAll("the bus was closed");
      for (const subscription of mine) subscriptions.delete(subscription);
      mine.clear();
    },
  };
}

function downError(doing: string): MillraceError {
  return new MillraceError("unavailable", `${doing}: the bus is down`);
}

function rethrow(error: MillraceError): void {
  throw error;
}

import { create, type DescMessage, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type {
  AgentInfo,
  AgentService,
  JoinFarmResponse,
  OfferedProgram,
} from "../../proto/gen/millrace/v1/agent_pb.ts";
import {
  AssignReplySchema,
  AssignSchema,
  CancelReplySchema,
  CancelSchema,
  DrainSchema,
  GoodbyeSchema,
  HeartbeatSchema,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import { OfferShellReplySchema, OfferShellSchema } from "../../proto/gen/millrace/v1/shell_pb.ts";
import type { Bus, BusMessage } from "../../shared/bus/bus.ts";
import { subjects } from "../../shared/bus/subjects.ts";
import type { Clock } from "../../shared/clock.ts";
import { type DiskSpace, diskMessage } from "../../shared/disk-space.ts";
import { type ErrorCode, from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { Stopped } from "../executor/executor.ts";
import type { SendReport } from "../outbox/outbox.ts";
import { backoff } from "../retry.ts";
import type { ShellServer } from "../shell/shell-server.ts";
import type { Attempts } from "./attempts.ts";
import { operationLease } from "./operation-lease.ts";

/** How to reach the bus; as the coordinator said when the agent joined. */
export type BusAddress = Pick<JoinFarmResponse, "natsServers" | "natsCa" | "natsUser" | "natsPassword">;

/** The agent's membership in the farm. */
export interface Session {
  /** Resolves when the agent has joined for the first time. Throws when the coordinator refuses it for good. */
  start(): Promise<void>;
  /** Something changed that a heartbeat says: one is sent in this turn of the loop. */
  announce(): void;
  /** Joins again, since what the agent offers has changed. */
  renew(): void;
  /** Sends a report. */
  readonly report: SendReport;
  /** Says goodbye when nothing is held, and leaves the bus. */
  stop(): Promise<void>;
}

export interface SessionOptions {
  readonly info: AgentInfo;
  readonly coordinator: Pick<Client<typeof AgentService>, "joinFarm">;
  readonly connectBus: (address: BusAddress) => Promise<Bus>;
  readonly attempts: Attempts;
  /** Undefined: it gives none. */
  readonly shells?: Pick<ShellServer, "offer">;
  /** The coordinator has a newer program for this agent. */
  readonly onOffer: (program: OfferedProgram) => void;
  /** Of the agent's data folder, now; said in heartbeats. */
  readonly disk: () => DiskSpace;
  readonly clock: Clock;
  /** The coordinator can be reached (again). */
  readonly onReachable: () => void;
  readonly onError: (error: MillraceError) => void;
  /** The coordinator does not want this agent any more. */
  readonly onExpelled: (error: MillraceError) => void;
}

/** Answers to JoinFarm that no waiting will change. */
const finalCodes: ReadonlySet<ErrorCode> = new Set([
  "invalid_argument",
  "unauthenticated",
  "permission_denied",
  "failed_precondition",
  "already_exists",
  "unimplemented",
]);

export function session(options: SessionOptions): Session {
  const { info, coordinator, connectBus, attempts, onOffer, disk, clock, onReachable, onError, onExpelled } = options;
  const closing = new AbortController();
  let bus: Bus | undefined;
  let address: BusAddress | undefined;
  let leaseMs: number = limits.leaseMs;
  let heartbeatMs: number = limits.heartbeatIntervalMs;
  let joining: Promise<void> | undefined;
  let announcing = false;
  let cancelHeartbeat: (() => void) | undefined;
  let cancelSearch: (() => void) | undefined;
  const lease = operationLease({
    clock,
    leaseMs: limits.hostOperationLeaseMs,
    onExpired(silentMs) {
      const why = `the agent had no word of the farm for ${Math.round(silentMs / 100) / 10} s`;
      attempts.endOperations(new Stopped(EndingKind.AGENT_LOST, why, limits.killGraceMs));
    },
  });

  /** Counted by the coordinator from later on: nothing that it takes for lost still runs here, but for the grace of its end. */
  const ownLease = operationLease({
    clock,
    leaseMs,
    onExpired(silentMs) {
      const silence = `the agent had no word of the farm for ${Math.round(silentMs / 100) / 10} s`;
      const why = `${silence}, and what is not idempotent may not run unheard`;
      attempts.endAtMostOnce(new Stopped(EndingKind.AGENT_LOST, why, limits.killGraceMs));
    },
  });

  /** Joins and connects, as often as it takes. */
  async function join(): Promise<void> {
    const pauses = backoff(clock);
    while (!closing.signal.aborted) {
      try {
        const answer = await coordinator.joinFarm(
          { agent: info },
          { signal: closing.signal, timeoutMs: limits.joinTimeoutMs },
        );
        if (answer.heartbeatInterval !== undefined) heartbeatMs = durationMs(answer.heartbeatInterval);
        if (answer.lease !== undefined) leaseMs = durationMs(answer.lease);
        ownLease.setLength(leaseMs);
        // A coordinator that names none is older than the answers to heartbeats.
        lease.setLength(answer.hostOperationLease && durationMs(answer.hostOperationLease));
        attempts.pause(answer.drain);
        if (answer.ephemeral) attempts.becomeEphemeral();
        await useBus(answer);
        if (answer.program !== undefined) onOffer(answer.program);
        return;
      } catch (error) {
        const failure = from(error, "joining the farm");
        if (closing.signal.aborted) throw failure;
        if (finalCodes.has(failure.code)) throw failure;
        onError(failure);
      }
      await pauses.pause(closing.signal);
    }
    throw new MillraceError("canceled", "joining the farm: the agent ends");
  }

  /** Once at a time; a refusal ends the agent. */
  function rejoin(): void {
    joining ??= join()
      .then(() => {
        beat();
        onReachable();
      })
      .catch(async (error: unknown) => {
        if (closing.signal.aborted) return;
        // Another process may have the same id now: what is meant for it must not be answered here.
        cancelHeartbeat?.();
        await bus?.close();
        onExpelled(from(error));
      })
      .finally(() => {
        joining = undefined;
      });
  }

  async function useBus(answer: BusAddress): Promise<void> {
    if (bus !== undefined && address !== undefined && isSame(address, answer)) return;
    const next = await connected(answer).catch((error: unknown) => {
      // Whatever its code: the answer to the next JoinFarm may know better.
      throw new MillraceError("unavailable", from(error, "connecting to the bus").message, { cause: error });
    });
    const before = bus;
    bus = next;
    address = answer;
    await before?.close();
    next.watchConnection((up) => {
      if (bus === next) connectionChanged(up);
    });
  }

  /** A bus on which we already listen. */
  async function connected(answer: BusAddress): Promise<Bus> {
    const next = await connectBus(answer);
    try {
      await subscribe(next);
      return next;
    } catch (error) {
      await next.close();
      throw error;
    }
  }

  async function subscribe(on: Bus): Promise<void> {
    const { id } = info;
    await Promise.all([
      on.subscribe(subjects.assign(id), (message) => {
        answer(message, AssignSchema, AssignReplySchema, (assign) => attempts.assign(assign));
      }),
      on.subscribe(subjects.cancel(id), (message) => {
        answer(message, CancelSchema, CancelReplySchema, (cancel) => attempts.cancel(cancel));
      }),
      on.subscribe(subjects.shell(id), (message) => {
        answer(message, OfferShellSchema, OfferShellReplySchema, (offer) => {
          if (options.shells !== undefined) return options.shells.offer(offer);
          return create(OfferShellReplySchema, { accepted: false, refusal: "the agent gives no shells" });
        });
      }),
      on.subscribe(subjects.drain(id), ({ data }) => attempts.pause(fromBinary(DrainSchema, data).draining)),
      on.subscribe(subjects.rejoin(id), rejoin),
      on.subscribe(subjects.rollCall, () => {
        beat();
        onReachable();
      }),
    ]);
  }

  /** A bus that stays away may have moved: its address is asked for once a lease. */
  function connectionChanged(up: boolean): void {
    cancelSearch?.();
    if (up) {
      beat();
      onReachable();
    } else if (!closing.signal.aborted) {
      cancelSearch = clock.after(leaseMs, () => {
        rejoin();
        connectionChanged(false);
      });
    }
  }

  function beat(): void {
    cancelHeartbeat?.();
    if (closing.signal.aborted) return;
    cancelHeartbeat = clock.after(heartbeatMs, beat);
    const { id: agentId, session: ofSession } = info;
    const heartbeat = create(HeartbeatSchema, {
      agentId,
      session: ofSession,
      draining: attempts.draining(),
      held: attempts.held(),
      disk: diskMessage(disk()),
    });
    if (bus !== undefined) void say(bus, subjects.heartbeat(agentId), toBinary(HeartbeatSchema, heartbeat));
  }

  /** What is not answered is said again at the next interval. */
  async function say(on: Bus, subject: string, heartbeat: Uint8Array): Promise<void> {
    const saidMs = clock.uptimeMs();
    try {
      await on.request(subject, heartbeat, { timeoutMs: leaseMs });
      lease.heard(saidMs);
      ownLease.heard(saidMs);
    } catch (error) {
      const failure = from(error, "sending a heartbeat");
      if (failure.code !== "unavailable" && failure.code !== "deadline_exceeded") onError(failure);
    }
  }

  return {
    async start() {
      const first = join();
      // `stop` waits for it: a bus that it connects to afterwards would keep the process alive for ever.
      joining = first
        .catch(() => undefined) // told by `start`
        .finally(() => {
          joining = undefined;
        });
      await first;
      beat();
      onReachable();
    },
    announce() {
      if (announcing) return;
      announcing = true;
      setImmediate(() => {
        announcing = false;
        beat();
      });
    },
    renew: rejoin,
    async report(report, signal) {
      if (bus === undefined) throw new MillraceError("unavailable", "the agent has not joined the farm yet");
      return await bus.request(subjects.report(info.id), report, { timeoutMs: limits.reportTimeoutMs, signal });
    },
    async stop() {
      closing.abort(new MillraceError("canceled", "the agent ends"));
      cancelHeartbeat?.();
      cancelSearch?.();
      lease.close();
      ownLease.close();
      await joining;
      if (attempts.held().length === 0) {
        const goodbye = create(GoodbyeSchema, { agentId: info.id, session: info.session });
        bus?.publish(subjects.goodbye(info.id), toBinary(GoodbyeSchema, goodbye));
      }
      await bus?.close();
    },
  };
}

function isSame(a: BusAddress, b: BusAddress): boolean {
  return (
    a.natsUser === b.natsUser &&
    a.natsPassword === b.natsPassword &&
    a.natsCa === b.natsCa &&
    a.natsServers.join() === b.natsServers.join()
  );
}

/** Decodes a request, has it answered, encodes the answer. */
function answer<Q extends DescMessage, A extends DescMessage>(
  message: BusMessage,
  question: Q,
  reply: A,
  give: (question: MessageShape<Q>) => MessageShape<A>,
): void {
  message.reply(toBinary(reply, give(fromBinary(question, message.data))));
}

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type Assign,
  AssignReplySchema,
  AssignSchema,
  HeartbeatSchema,
  ReportSchema,
} from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Bus } from "../../shared/bus/bus.ts";
import { subjects } from "../../shared/bus/subjects.ts";
import { limits } from "../../shared/limits.ts";
import { machineNowMs } from "./messages.ts";

/** Agents by their messages alone: they beat, accept whatever comes, and report when they are told to. */
export interface Swarm {
  /** Resolves with the time at which an assignment of this execution arrived. */
  arrival(executionId: string): Promise<number>;
  /** Reports the end of what an agent holds, in whose place something else comes; resolves with when the report was sent. */
  finishOne(): Promise<number>;
  /** Ends this one; resolves when that is answered. */
  finish(executionId: string): Promise<void>;
  /** Resolves with the time at which the next assignment of any execution arrives. */
  nextArrival(): Promise<number>;
  close(): void;
}

export interface SwarmAgent {
  readonly id: string;
  readonly session: string;
}

interface Held {
  readonly agent: Member;
  readonly assign: Assign;
}

interface Member extends SwarmAgent {
  readonly bus: Bus;
  readonly held: Map<string, Assign>;
}

/** They share connections, which the other side cannot tell: 5,000 sockets would be a bench of this machine's kernel. */
export async function swarm(buses: readonly Bus[], agents: readonly SwarmAgent[]): Promise<Swarm> {
  const members = agents.map((agent, index): Member => {
    const bus = buses[index % buses.length];
    if (bus === undefined) throw new RangeError("a swarm needs a bus");
    return { ...agent, bus, held: new Map() };
  });
  const held = new Map<string, Held>();
  const expected = new Map<string, (atMs: number) => void>();
  const waiting: ((atMs: number) => void)[] = [];
  const timers: NodeJS.Timeout[] = [];

  function onAssign(agent: Member, data: Uint8Array, reply: (data: Uint8Array) => void): void {
    const atMs = machineNowMs();
    const assign = fromBinary(AssignSchema, data);
    reply(toBinary(AssignReplySchema, create(AssignReplySchema, { accepted: true })));
    agent.held.set(assign.executionId, assign);
    held.set(assign.executionId, { agent, assign });
    expected.get(assign.executionId)?.(atMs);
    expected.delete(assign.executionId);
    waiting.shift()?.(atMs);
  }

  function beat({ id, session, bus, held: holding }: Member): void {
    const message = create(HeartbeatSchema, {
      agentId: id,
      session,
      held: [...holding.values()].map(({ executionId, epoch }) => ({ executionId, ...(epoch && { epoch }) })),
      disk: { folder: "/var/lib/millrace", sizeBytes: 10n ** 12n, freeBytes: 10n ** 11n },
    });
    bus
      .request(subjects.heartbeat(id), toBinary(HeartbeatSchema, message), { timeoutMs: limits.leaseMs })
      .catch((error: unknown) => process.stderr.write(`swarm: ${id}: ${String(error)}\n`));
  }

  async function report({ agent, assign }: Held): Promise<void> {
    const { executionId, attempt, epoch } = assign;
    const ending = { kind: EndingKind.EXITED };
    const message = create(ReportSchema, {
      agentId: agent.id,
      executionId,
      attempt,
      ending,
      result: {},
      ...(epoch && { epoch }),
    });
    agent.held.delete(executionId);
    held.delete(executionId);
    await agent.bus.request(subjects.report(agent.id), toBinary(ReportSchema, message), {
      timeoutMs: limits.reportTimeoutMs,
    });
  }

  for (const member of members) {
    await member.bus.subscribe(subjects.assign(member.id), ({ data, reply }) => onAssign(member, data, reply));
  }
  // Spread over the interval, as agents are that were started by people.
  for (const [index, member] of members.entries()) {
    const firstMs = (limits.heartbeatIntervalMs * index) / members.length;
    timers.push(
      setTimeout(() => {
        beat(member);
        timers.push(setInterval(() => beat(member), limits.heartbeatIntervalMs));
      }, firstMs),
    );
  }

  return {
    arrival: (executionId) => new Promise((resolve) => expected.set(executionId, resolve)),
    nextArrival: () => new Promise((resolve) => waiting.push(resolve)),
    async finishOne() {
      const [first] = held.values();
      if (first === undefined) throw new Error("the swarm holds nothing");
      const sentAtMs = machineNowMs();
      await report(first);
      return sentAtMs;
    },
    async finish(executionId) {
      const one = held.get(executionId);
      if (one === undefined) throw new Error(`the swarm does not hold ${executionId}`);
      await report(one);
    },
    close() {
      for (const timer of timers) clearInterval(timer);
    },
  };
}

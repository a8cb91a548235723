import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type AgentInfo,
  AgentInfoSchema,
  AgentState,
  type DiskSpace,
} from "../../../proto/gen/millrace/v1/agent_pb.ts";
import {
  DrainSchema,
  type Goodbye,
  GoodbyeSchema,
  type Heartbeat,
  HeartbeatReplySchema,
  HeartbeatSchema,
  RejoinSchema,
  RollCallSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { Bus } from "../../../shared/bus/bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import type { Clock } from "../../../shared/clock.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { type LeaseTimes, leaseTimes } from "../../../shared/lease-times.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { SchemaPart, Sqlite } from "../../../shared/sqlite/sqlite.ts";
import type { AgentChange, AgentRecord, AgentRegistry } from "./agent-registry.ts";
import { type Started, startedNow } from "./agent-starts.ts";
import { together } from "./together.ts";

export const agentSchema: SchemaPart = {
  name: "agents",
  migrations: [
    "CREATE TABLE agent (id TEXT PRIMARY KEY, info BLOB NOT NULL) STRICT",
    "ALTER TABLE agent ADD COLUMN draining INTEGER NOT NULL DEFAULT 0",
    // Wall time; null while it is there.
    "ALTER TABLE agent ADD COLUMN lost_at_ms INTEGER",
    // Earlier starts of its process, as JSON, and since when the present one is there, wall time.
    "ALTER TABLE agent ADD COLUMN superseded TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE agent ADD COLUMN started_ms INTEGER NOT NULL DEFAULT 0",
  ],
};

export interface BusAgentRegistryDeps {
  readonly bus: Bus;
  readonly sqlite: Sqlite;
  readonly clock: Clock;
  /** Of this start of the coordinator. */
  readonly term: number;
  /** Default that of limits.ts. */
  readonly lease?: LeaseTimes;
  /** An agent that is lost for so long is forgotten; default that of limits.ts. */
  readonly lostKeptMs?: number;
  readonly onError: (error: unknown) => void;
}

interface Row {
  info: Uint8Array;
  draining: number;
  lost_at_ms: number | null;
  superseded: string;
  started_ms: number;
}

interface Entry extends Started {
  info: AgentInfo;
  state: AgentState;
  heard: boolean;
  /** Somebody asked for it; the agent may drain for a reason of its own, too. */
  draining: boolean;
  lastHeartbeatMs: number;
  disk?: DiskSpace | undefined;
  /** Wall time, kept over restarts; undefined while it is there. */
  lostAtMs?: number | undefined;
  /** On the monotonic clock: when its silence began to count. */
  silentSinceMs: number;
}

/**
 * Knows agents by their heartbeats on the bus.
 *
 * Silence counts only while we could have heard: after an outage of the bus or a stall of our own loop, every agent has
 * `limits.graceHeartbeats` intervals before it can be lost. Else the restart of a nats-server would place every running
 * task a second time.
 */
export function busAgentRegistry(deps: BusAgentRegistryDeps): AgentRegistry & Component {
  const { bus, clock, lease: { leaseMs, heartbeatMs } = leaseTimes(), lostKeptMs = limits.lostAgentKeptMs } = deps;
  const agents = new Map<string, Entry>();
  const listeners = new Set<(change: AgentChange) => void>();
  const ends: (() => void)[] = [];
  const answerSoon = together(clock, limits.heartbeatAnswersMs);
  let busUp = false;
  let checkDueMs = clock.monotonicMs();
  let cancelCheck = (): void => {};

  const tell = (change: AgentChange): void => {
    for (const listener of listeners) listener(change);
  };

  function forgive(): void {
    const latest = clock.monotonicMs() - leaseMs + limits.graceHeartbeats * heartbeatMs;
    for (const agent of agents.values()) agent.silentSinceMs = Math.max(agent.silentSinceMs, latest);
  }

  function check(): void {
    const nowMs = clock.monotonicMs();
    if (nowMs - checkDueMs > limits.stallMs) forgive();
    for (const agent of agents.values()) {
      if (!busUp || agent.state === AgentState.LOST || nowMs - agent.silentSinceMs < leaseMs) continue;
      agent.state = AgentState.LOST;
      rememberLoss(agent, agent.lostAtMs ?? clock.nowMs());
      tell({ kind: "lost", agent: record(agent) });
      dropEphemeral(agent);
    }
    dropForgotten();
    const leftMs = untilNextCheckMs(nowMs);
    checkDueMs = nowMs + leftMs;
    cancelCheck = clock.after(leftMs, check);
  }

  /** A heartbeat, or less where an agent's lease is over before: a task that waits for it is told so then, not later. */
  function untilNextCheckMs(nowMs: number): number {
    let leftMs = heartbeatMs;
    for (const { state, silentSinceMs } of agents.values()) {
      if (busUp && state !== AgentState.LOST) leftMs = Math.min(leftMs, silentSinceMs + leaseMs - nowMs);
    }
    return Math.max(1, leftMs);
  }

  /** Best effort: what is not written down is found out again a restart later. */
  function rememberLoss(agent: Entry, lostAtMs: number | undefined): void {
    if (agent.lostAtMs === lostAtMs) return;
    agent.lostAtMs = lostAtMs;
    const sql = "UPDATE agent SET lost_at_ms = ? WHERE id = ?";
    deps.sqlite.write([{ sql, params: [lostAtMs ?? null, agent.info.id] }]).catch(deps.onError);
  }

  /** An agent that nobody has heard for so long will not come back; if it does, it joins again. */
  function dropForgotten(): void {
    const before = clock.nowMs() - lostKeptMs;
    for (const { info, lostAtMs } of agents.values()) {
      if (lostAtMs !== undefined && lostAtMs < before) drop(info.id).catch(deps.onError);
    }
  }

  /** It does not come back: its process has had its one task, or has ended before. */
  function dropEphemeral({ info: { id, ephemeral } }: Entry): void {
    if (ephemeral) drop(id).catch(deps.onError);
  }

  async function drop(id: string): Promise<void> {
    const agent = known(id);
    await deps.sqlite.write([{ sql: "DELETE FROM agent WHERE id = ?", params: [id] }]);
    if (!agents.delete(id)) return; // twice at a time
    tell({ kind: "removed", agent: { ...record(agent), state: AgentState.LOST } });
  }

  /** @param answer is called when the agent is one that we know */
  function onHeartbeat(heartbeat: Heartbeat, answer: () => void): void {
    const agent = agents.get(heartbeat.agentId);
    if (agent === undefined || agent.info.session !== heartbeat.session) {
      return sayRejoin(heartbeat.agentId);
    }
    answerSoon(answer);
    const wasAway = agent.state === AgentState.LOST || !agent.heard;
    agent.state = heartbeat.draining || agent.draining ? AgentState.DRAINING : AgentState.ONLINE;
    if (heartbeat.draining !== agent.draining) sayDrain(agent);
    agent.heard = true;
    rememberLoss(agent, undefined);
    agent.lastHeartbeatMs = clock.nowMs();
    agent.disk = heartbeat.disk;
    agent.silentSinceMs = clock.monotonicMs();
    if (wasAway) tell({ kind: "joined", agent: record(agent) });
    tell({ kind: "heartbeat", agent: record(agent), held: heartbeat.held });
  }

  function sayRejoin(id: string): void {
    bus.publish(subjects.rejoin(id), toBinary(RejoinSchema, create(RejoinSchema)));
  }

  function sayDrain({ info: { id }, draining }: Entry): void {
    bus.publish(subjects.drain(id), toBinary(DrainSchema, create(DrainSchema, { draining })));
  }

  function known(id: string): Entry {
    const agent = agents.get(id);
    if (agent === undefined) throw new MillraceError("not_found", `there is no agent "${id}"; see \`millrace agents\``);
    return agent;
  }

  function onGoodbye(goodbye: Goodbye): void {
    const agent = agents.get(goodbye.agentId);
    if (agent === undefined || agent.info.session !== goodbye.session) return;
    agent.state = AgentState.LOST;
    rememberLoss(agent, agent.lostAtMs ?? clock.nowMs());
    tell({ kind: "left", agent: record(agent) });
    dropEphemeral(agent);
  }

  return {
    name: "agent registry",

    async start() {
      const rows = await deps.sqlite.query<Row>("SELECT info, draining, lost_at_ms, superseded, started_ms FROM agent");
      for (const row of rows) {
        const info = fromBinary(AgentInfoSchema, row.info);
        agents.set(info.id, {
          info,
          superseded: JSON.parse(row.superseded) as string[],
          startedMs: row.started_ms,
          state: row.draining === 1 ? AgentState.DRAINING : AgentState.ONLINE,
          heard: false,
          draining: row.draining === 1,
          lastHeartbeatMs: 0,
          lostAtMs: row.lost_at_ms ?? undefined,
          silentSinceMs: clock.monotonicMs(),
        });
      }
      ends.push(
        await bus.subscribe(subjects.heartbeat("*"), ({ subject, data, reply }) => {
          const heartbeat = fromBinary(HeartbeatSchema, data);
          const answer = () => reply(toBinary(HeartbeatReplySchema, create(HeartbeatReplySchema)));
          if (subject === subjects.heartbeat(heartbeat.agentId)) onHeartbeat(heartbeat, answer);
        }),
        await bus.subscribe(subjects.goodbye("*"), ({ subject, data }) => {
          const goodbye = fromBinary(GoodbyeSchema, data);
          if (subject === subjects.goodbye(goodbye.agentId)) onGoodbye(goodbye);
        }),
        bus.watchConnection((up) => {
          busUp = up;
          if (!up) return;
          forgive();
          bus.publish(subjects.rollCall, toBinary(RollCallSchema, create(RollCallSchema, { term: BigInt(deps.term) })));
        }),
      );
      check();
    },

    async stop() {
      cancelCheck();
      for (const end of ends) end();
    },

    async join(info) {
      const before = agents.get(info.id);
      const started = startedNow(info, before, clock.nowMs());
      // Before it is on disk, so that of two starts that join at a time one is the later one.
      const draining = before?.draining ?? false;
      const agent: Entry = {
        info,
        ...started,
        lostAtMs: before?.lostAtMs,
        state: draining ? AgentState.DRAINING : AgentState.ONLINE,
        heard: false,
        draining,
        lastHeartbeatMs: clock.nowMs(),
        silentSinceMs: clock.monotonicMs(),
      };
      agents.set(info.id, agent);
      tell({ kind: "changed", agent: record(agent) });
      await deps.sqlite.write([
        {
          sql: `INSERT INTO agent (id, info, superseded, started_ms) VALUES (?, ?, ?, ?)
                ON CONFLICT (id) DO UPDATE
                SET info = excluded.info, superseded = excluded.superseded, started_ms = excluded.started_ms`,
          params: [info.id, toBinary(AgentInfoSchema, info), JSON.stringify(started.superseded), started.startedMs],
        },
      ]);
      // Where the one before still runs, it asks and hears who took over.
      if (before !== undefined && before.info.session !== info.session) sayRejoin(info.id);
      return record(agent);
    },

    async drain(id, draining) {
      const agent = known(id);
      const params = [draining ? 1 : 0, id];
      await deps.sqlite.write([{ sql: "UPDATE agent SET draining = ? WHERE id = ?", params }]);
      agent.draining = draining;
      // Resumed only when the agent says so: until then it would refuse.
      if (draining && agent.state === AgentState.ONLINE) agent.state = AgentState.DRAINING;
      sayDrain(agent);
      tell({ kind: "changed", agent: record(agent) });
      return record(agent);
    },

    remove: drop,

    list: () => [...agents.values()].map(record),

    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

function record({ info, state, heard, lastHeartbeatMs, disk }: Entry): AgentRecord {
  return { info, state, heard, lastHeartbeatMs, disk };
}

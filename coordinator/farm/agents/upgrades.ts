import { create, toBinary } from "@bufbuild/protobuf";
import { type AgentInfo, AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { RejoinSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { Bus } from "../../../shared/bus/bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import type { Clock } from "../../../shared/clock.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { isNewerVersion, upgradeFeature } from "../../../shared/version.ts";
import type { AgentChange, AgentRegistry } from "./agent-registry.ts";
import type { Program, Programs } from "./programs.ts";

/** Brings agents to the coordinator's version, a share of them at a time: an agent that upgrades takes no work meanwhile. */
export interface Upgrades {
  /** What an agent that joins is offered; undefined when it has the version, failed at it, cannot, or must wait for others. */
  offerTo(agent: AgentInfo): Promise<Program | undefined>;
}

export interface UpgradesDeps {
  readonly agents: Pick<AgentRegistry, "list" | "subscribe">;
  readonly programs: Pick<Programs, "find">;
  readonly bus: Pick<Bus, "publish">;
  readonly version: string;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

/** Offers are made when an agent joins; one that has joined long ago is asked, when its turn comes, to do so again. */
export function rollingUpgrades({
  agents,
  programs,
  bus,
  version,
  clock,
  onError,
}: UpgradesDeps): Upgrades & Component {
  /** Since when, by agent: at most those of `turns`. */
  const underWay = new Map<string, number>();
  /** Not asked before, by agent: at most the known ones. */
  const askedNext = new Map<string, number>();
  let unsubscribe = (): void => {};

  const isOutdated = ({ version: theirs, features }: AgentInfo) =>
    features.includes(upgradeFeature) && isNewerVersion(version, theirs);

  function hasTurn(id: string): boolean {
    const nowMs = clock.monotonicMs();
    for (const [other, sinceMs] of underWay) {
      if (nowMs - sinceMs > limits.upgradeUnderWayMs) underWay.delete(other);
    }
    const connected = agents.list().filter(({ state }) => state !== AgentState.LOST).length;
    return underWay.has(id) || underWay.size < turns(connected);
  }

  /** That there is none must keep nobody from joining. */
  async function find(platform: string): Promise<Program | undefined> {
    try {
      return await programs.find(platform);
    } catch (error) {
      onError(error);
      return undefined;
    }
  }

  function onChange(change: AgentChange): void {
    const { info } = change.agent;
    if (change.kind === "removed" || change.kind === "lost") {
      underWay.delete(info.id);
      askedNext.delete(info.id);
    }
    if (change.kind !== "heartbeat" || !isOutdated(info) || !hasTurn(info.id)) return;
    const nowMs = clock.monotonicMs();
    if (nowMs < (askedNext.get(info.id) ?? 0)) return;
    askedNext.set(info.id, nowMs + limits.upgradeAskMs);
    bus.publish(subjects.rejoin(info.id), toBinary(RejoinSchema, create(RejoinSchema)));
  }

  return {
    name: "upgrades",
    async start() {
      unsubscribe = agents.subscribe(onChange);
    },
    async stop() {
      unsubscribe();
    },
    async offerTo(info) {
      const { id, labels, failedUpgrade } = info;
      askedNext.set(id, clock.monotonicMs() + limits.upgradeLookMs);
      const program = isOutdated(info) ? await find(`${labels.os}-${labels.arch}`) : undefined;
      if (program === undefined || program.sha256 === failedUpgrade?.sha256) {
        underWay.delete(id); // it has come to an end, one way or the other
        return undefined;
      }
      if (!hasTurn(id)) {
        askedNext.delete(id);
        return undefined;
      }
      underWay.set(id, clock.monotonicMs());
      return program;
    },
  };
}

/** How many agents may upgrade at the same time. */
export function turns(connected: number): number {
  return Math.max(1, Math.floor(connected / limits.upgradeShare));
}

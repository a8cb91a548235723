import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentRegistry } from "../agents/agent-registry.ts";
import { type Place, placeOf } from "./placement.ts";

/**
 * The agents that may be given work now: online and heard, not resting, and only while the bus can reach them.
 *
 * One that refused something is left alone until its next heartbeat. One that failed at something that was not the
 * task's fault rests, longer each time, until something goes well on it: else one agent with a full disk, always the
 * emptiest of all, would eat the whole queue.
 *
 * Each offers a label with its own id beside its labels: for what no other agent may have.
 */
export interface AgentPlaces {
  now(): Place[];
  busChanged(isUp: boolean): void;
  refused(agentId: string): void;
  heard(agentId: string): void;
  failed(agentId: string): void;
  worked(agentId: string): void;
}

export interface AgentPlacesDeps {
  readonly agents: Pick<AgentRegistry, "list">;
  readonly clock: Clock;
  /** Slots in use. */
  readonly used: (agentId: string) => number;
  /** Called when there may be more places than before. */
  readonly onChange: () => void;
}

export function agentPlaces({ agents, clock, used, onChange }: AgentPlacesDeps): AgentPlaces {
  const refusing = new Set<string>();
  const failures = new Map<string, number>();
  const resting = new Set<string>();
  let busUp = false;

  return {
    now() {
      if (!busUp) return [];
      return agents
        .list()
        .filter(({ state, heard, info: { id } }) => {
          return state === AgentState.ONLINE && heard && !refusing.has(id) && !resting.has(id);
        })
        .map(({ info }) => placeOf(info, used(info.id)));
    },
    busChanged(isUp) {
      busUp = isUp;
      if (isUp) onChange();
    },
    refused: (agentId) => refusing.add(agentId),
    heard: (agentId) => refusing.delete(agentId),
    failed(agentId) {
      const count = (failures.get(agentId) ?? 0) + 1;
      failures.set(agentId, count);
      resting.add(agentId);
      clock.after(Math.min(limits.agentRestMaxMs, limits.agentRestMs * 2 ** (count - 1)), () => {
        resting.delete(agentId);
        onChange();
      });
    },
    worked: (agentId) => failures.delete(agentId),
  };
}

import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { FailureScope } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentRecord, AgentRegistry } from "../agents/agent-registry.ts";
import { type Execution, type FarmFailure, failedAttempt, type LostAttempt } from "./execution.ts";
import { type Place, placeOf } from "./placement.ts";
import { avoiding, satisfies } from "./requirement.ts";

/**
 * The agents that work may be meant for: heard and not lost, and only while the bus can reach them. Those that take some
 * now are open.
 *
 * One that refused something is left alone until its next heartbeat. One that failed at something that was not the
 * task's fault rests, longer each time, until something goes well on it: else one agent with a full disk, always the
 * emptiest of all, would eat the whole queue.
 *
 * Each offers a label with its own id beside its labels: for what no other agent may have. An ephemeral one that was given
 * something is closed for good, and one that its pool gives up drains.
 */
export interface AgentPlaces {
  now(): Place[];
  busChanged(isUp: boolean): void;
  /** `isUntouched`: it surely never had what it was to take. */
  refused(agentId: string, isUntouched: boolean): void;
  heard(agentId: string): void;
  /**
   * What its failure means for the attempt; noted on the execution when it would fail there again. The agent rests, unless
   * the failure was the whole farm's.
   */
  failed(agentId: string, failure: FarmFailure, execution: Execution): LostAttempt;
  worked(agentId: string): void;
}

/** What pools have to say to placement. */
export interface PoolOutlook {
  /** Places that are none yet: those of pools that could bring agents. */
  places(): readonly Place[];
  /** Whether its pool gives this agent up. */
  isLeaving(agentId: string): boolean;
  /** The listener is called when the places have changed; it must not throw. */
  watch(listener: () => void): void;
}

export interface AgentPlacesDeps {
  readonly agents: Pick<AgentRegistry, "list">;
  readonly clock: Clock;
  /** Slots in use. */
  readonly used: (agentId: string) => number;
  readonly pools?: PoolOutlook;
  /** Called when there may be more places than before. */
  readonly onChange: () => void;
}

export function agentPlaces({ agents, clock, used, pools, onChange }: AgentPlacesDeps): AgentPlaces {
  const refusing = new Set<string>();
  /** Ephemeral agents that were given their one execution. */
  const spent = new Set<string>();
  const failures = new Map<string, number>();
  const resting = new Set<string>();
  let busUp = false;
  pools?.watch(onChange);

  function rest(agentId: string): void {
    const count = (failures.get(agentId) ?? 0) + 1;
    failures.set(agentId, count);
    resting.add(agentId);
    clock.after(Math.min(limits.agentRestMaxMs, limits.agentRestMs * 2 ** (count - 1)), () => {
      resting.delete(agentId);
      onChange();
    });
  }

  function standingOf({ info: { id, ephemeral }, state }: AgentRecord): Place["standing"] {
    if (ephemeral && used(id) > 0) spent.add(id);
    if (state === AgentState.DRAINING || pools?.isLeaving(id) === true) return "draining";
    return refusing.has(id) || resting.has(id) || spent.has(id) ? "closed" : "open";
  }

  /** Whether an agent, busy or resting, could have it that has not said the contrary. */
  function fitsAny({ requirement, unfit }: Execution): boolean {
    return agents.list().some(({ state, info }) => {
      return (
        state === AgentState.ONLINE &&
        !unfit.has(info.id) &&
        satisfies(placeOf(info, { used: 0, standing: "open" }).labels, requirement)
      );
    });
  }

  return {
    now() {
      if (!busUp) return [];
      const records = agents.list();
      if (spent.size > 0) forgetGone(spent, records);
      const places = records.flatMap((record) => {
        const { state, heard, info } = record;
        if (state !== AgentState.DRAINING && (state !== AgentState.ONLINE || !heard)) return [];
        return [placeOf(info, { used: used(info.id), standing: standingOf(record) })];
      });
      return pools === undefined ? places : [...places, ...pools.places()];
    },
    busChanged(isUp) {
      busUp = isUp;
      if (isUp) onChange();
    },
    refused(agentId, isUntouched) {
      refusing.add(agentId);
      if (isUntouched) spent.delete(agentId);
    },
    heard: (agentId) => refusing.delete(agentId),
    failed(agentId, failure, execution) {
      if (failure.scope !== FailureScope.FARM) rest(agentId);
      if (failure.scope === FailureScope.AGENT) {
        execution.unfit.add(agentId);
        execution.requirement = avoiding(execution.requirement, agentId);
      }
      return failedAttempt(failure, fitsAny(execution));
    },
    worked: (agentId) => failures.delete(agentId),
  };
}

/** Those that nobody knows any more do not come back under their ids. */
function forgetGone(ids: Set<string>, records: readonly AgentRecord[]): void {
  const known = new Set(records.map(({ info }) => info.id));
  for (const id of ids) if (!known.has(id)) ids.delete(id);
}

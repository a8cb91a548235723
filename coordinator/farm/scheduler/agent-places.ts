import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { FailureScope } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentRecord, AgentRegistry } from "../agents/agent-registry.ts";
import { type Execution, type FarmFailure, failedAttempt, type LostAttempt } from "./execution.ts";
import { type Place, type Places, placeOf, places } from "./placement.ts";
import { avoiding, satisfies } from "./requirement.ts";

/**
 * The agents that work may be meant for: heard and not lost, and only while the bus can reach them. Those that take some
 * now are open. They are kept as they change: thousands of agents beat every 2 s, and nearly all have nothing new to say.
 *
 * One that refused something is left alone until its next heartbeat. One that failed at something that was not the
 * task's fault rests, longer each time, until something goes well on it: else one agent with a full disk, always the
 * emptiest of all, would eat the whole queue.
 *
 * Each offers a label with its own id beside its labels: for what no other agent may have. An ephemeral one that was given
 * something is closed for good, and one that its pool gives up drains.
 */
export interface AgentPlaces {
  readonly now: Places;
  busChanged(isUp: boolean): void;
  /** The agent is as this record says, and was heard if the record says so. */
  seen(record: AgentRecord): void;
  gone(agentId: string): void;
  usedChanged(agentId: string): void;
  /** `isUntouched`: it surely never had what it was to take. */
  refused(agentId: string, isUntouched: boolean): void;
  /**
   * What its failure means for the attempt; noted on the execution when it would fail there again. The agent rests, unless
   * the failure was the whole farm's.
   */
  failed(agentId: string, failure: FarmFailure, execution: Execution): LostAttempt;
  worked(agentId: string): void;
}

/** A pool that could bring agents. */
export interface ScalingPool {
  readonly name: string;
  /** What is compared with platform properties, as in `Place`. */
  readonly labels: Readonly<Record<string, string>>;
  /** For a person: how it stands now. */
  readonly outlook: () => string;
}

/** What pools have to say to placement. */
export interface PoolOutlook {
  /** At most `poolLimits.poolsMax`. */
  scaling(): readonly ScalingPool[];
  /** Whether its pool gives this agent up. */
  isLeaving(agentId: string): boolean;
  watch(watcher: PoolWatcher): void;
}

/** Told in the turn of the loop in which it happens, so that nothing is placed in between. Must not throw. */
export interface PoolWatcher {
  /** Which pools could bring agents has changed, or how they stand. */
  scalingChanged(): void;
  /** Its pool gives this agent up, or wants it again. */
  leavingChanged(agentId: string): void;
}

export interface AgentPlacesDeps {
  readonly agents: Pick<AgentRegistry, "list">;
  readonly clock: Clock;
  /** Slots in use. */
  readonly used: (agentId: string) => number;
  readonly pools?: PoolOutlook | undefined;
  /** Called when there may be more places than before, or other ones. */
  readonly onChange: () => void;
}

/** What there would be while the bus is up. */
interface Known extends Place {
  readonly info: AgentRecord["info"];
  /** Somebody has said so, its pool or not. */
  readonly isDraining: boolean;
}

export function agentPlaces({ agents, clock, used, pools, onChange }: AgentPlacesDeps): AgentPlaces {
  const refusing = new Set<string>();
  /** Ephemeral agents that were given their one execution. */
  const spent = new Set<string>();
  const failures = new Map<string, number>();
  const resting = new Set<string>();
  const known = new Map<string, Known>();
  const now = places();
  let busUp = false;
  pools?.watch({
    scalingChanged: onChange,
    leavingChanged(agentId) {
      change(agentId);
      onChange();
    },
  });

  function put(place: Known): void {
    known.set(place.id, place);
    if (busUp) now.set(place);
  }

  function standingOf(id: string, isDraining: boolean): Place["standing"] {
    if (isDraining || pools?.isLeaving(id) === true) return "draining";
    if (spent.has(id)) return "spent";
    if (resting.has(id)) return "resting";
    return refusing.has(id) ? "refusing" : "open";
  }

  /** Its standing follows from all that is known of it. */
  function change(id: string): void {
    const before = known.get(id);
    if (before !== undefined) put({ ...before, standing: standingOf(id, before.isDraining) });
  }

  function rest(agentId: string): void {
    const count = (failures.get(agentId) ?? 0) + 1;
    failures.set(agentId, count);
    resting.add(agentId);
    change(agentId);
    clock.after(Math.min(limits.agentRestMaxMs, limits.agentRestMs * 2 ** (count - 1)), () => {
      resting.delete(agentId);
      change(agentId);
      onChange();
    });
  }

  /** Whether an agent, busy or resting, could have it that has not said the contrary. */
  function fitsAny({ requirement }: Execution): boolean {
    const { avoids = [] } = requirement;
    return agents.list().some(({ state, info }) => {
      return (
        state === AgentState.ONLINE &&
        !avoids.includes(info.id) &&
        satisfies(placeOf(info, { used: 0, standing: "open" }).labels, requirement)
      );
    });
  }

  function unlist(id: string): void {
    if (!known.delete(id)) return;
    now.remove(id);
    onChange();
  }

  return {
    now,
    busChanged(isUp) {
      busUp = isUp;
      for (const [id, place] of known) {
        if (isUp) now.set(place);
        else now.remove(id);
      }
      onChange();
    },
    seen({ info, state, heard }) {
      const { id } = info;
      refusing.delete(id);
      if (info.ephemeral && used(id) > 0) spent.add(id); // also when it is not heard: a former start may have given it
      const isDraining = state === AgentState.DRAINING;
      if (!isDraining && (state !== AgentState.ONLINE || !heard)) return unlist(id);
      const standing = standingOf(id, isDraining);
      const before = known.get(id);
      if (before?.info === info && before.standing === standing && before.isDraining === isDraining) return;
      const place = before?.info === info ? { ...before, standing } : placeOf(info, { used: used(id), standing });
      put({ ...place, info, isDraining });
      onChange();
    },
    gone(id) {
      spent.delete(id); // an ephemeral agent that went is forgotten, and does not come back under its id
      unlist(id);
    },
    usedChanged(agentId) {
      const before = known.get(agentId);
      if (before === undefined) return;
      put({ ...before, used: used(agentId) });
      if (!before.info.ephemeral) return;
      if (used(agentId) > before.used) spent.add(agentId);
      change(agentId);
    },
    refused(agentId, isUntouched) {
      refusing.add(agentId);
      if (isUntouched) spent.delete(agentId);
      change(agentId);
    },
    failed(agentId, failure, execution) {
      if (failure.scope !== FailureScope.FARM) rest(agentId);
      if (failure.scope === FailureScope.AGENT) {
        execution.requirement = avoiding(execution.requirement, agentId);
      }
      return failedAttempt(failure, fitsAny(execution));
    },
    worked: (agentId) => failures.delete(agentId),
  };
}

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
 * Each offers a label with its own id beside its labels: for what no other agent may have.
 */
export interface AgentPlaces {
  readonly now: Places;
  busChanged(isUp: boolean): void;
  /** The agent is as this record says, and was heard if the record says so. */
  seen(record: AgentRecord): void;
  gone(agentId: string): void;
  usedChanged(agentId: string): void;
  refused(agentId: string): void;
  /**
   * What its failure means for the attempt; noted on the execution when it would fail there again. The agent rests, unless
   * the failure was the whole farm's.
   */
  failed(agentId: string, failure: FarmFailure, execution: Execution): LostAttempt;
  worked(agentId: string): void;
}

export interface AgentPlacesDeps {
  readonly agents: Pick<AgentRegistry, "list">;
  readonly clock: Clock;
  /** Slots in use. */
  readonly used: (agentId: string) => number;
  /** Called when there may be more places than before, or other ones. */
  readonly onChange: () => void;
}

export function agentPlaces({ agents, clock, used, onChange }: AgentPlacesDeps): AgentPlaces {
  const refusing = new Set<string>();
  const failures = new Map<string, number>();
  const resting = new Set<string>();
  /** Those that there would be while the bus is up. */
  const known = new Map<string, Place & { readonly info: AgentRecord["info"] }>();
  const now = places();
  let busUp = false;

  function put(id: string, place: Place | undefined): void {
    if (place !== undefined && busUp) now.set(place);
    else now.remove(id);
  }

  /** What a record means for placement; undefined when it is nothing. */
  function standingOf({ state, heard, info: { id } }: AgentRecord): Place["standing"] | undefined {
    if (state === AgentState.DRAINING) return "draining";
    if (state !== AgentState.ONLINE || !heard) return undefined;
    return refusing.has(id) || resting.has(id) ? "closed" : "open";
  }

  function change(id: string, what: Partial<Pick<Place, "standing" | "used">>): void {
    const before = known.get(id);
    if (before === undefined) return;
    const place = { ...before, ...what };
    known.set(id, place);
    put(id, place);
  }

  /** It refuses or rests, or does so no more. */
  function openOrClose(id: string): void {
    if (known.get(id)?.standing === "draining") return;
    change(id, { standing: refusing.has(id) || resting.has(id) ? "closed" : "open" });
  }

  function rest(agentId: string): void {
    const count = (failures.get(agentId) ?? 0) + 1;
    failures.set(agentId, count);
    resting.add(agentId);
    openOrClose(agentId);
    clock.after(Math.min(limits.agentRestMaxMs, limits.agentRestMs * 2 ** (count - 1)), () => {
      resting.delete(agentId);
      openOrClose(agentId);
      onChange();
    });
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

  function gone(id: string): void {
    if (!known.delete(id)) return;
    now.remove(id);
    onChange();
  }

  return {
    now,
    busChanged(isUp) {
      busUp = isUp;
      for (const [id, place] of known) put(id, place);
      onChange();
    },
    seen(record) {
      const { info } = record;
      refusing.delete(info.id);
      const standing = standingOf(record);
      if (standing === undefined) return gone(info.id);
      const before = known.get(info.id);
      if (before?.info === info && before.standing === standing) return;
      const place = before?.info === info ? { ...before, standing } : placeOf(info, { used: used(info.id), standing });
      known.set(info.id, { ...place, info });
      put(info.id, place);
      onChange();
    },
    gone,
    usedChanged: (agentId) => change(agentId, { used: used(agentId) }),
    refused(agentId) {
      refusing.add(agentId);
      openOrClose(agentId);
    },
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

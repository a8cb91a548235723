import type { AgentInfo } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { toolProperty } from "../../../shared/pipeline/tool-property.ts";
import { type Requirement, satisfies } from "./requirement.ts";
import type { Waiting, WaitingQueue } from "./waiting-queue.ts";

/** An agent as placement sees it. */
export interface Place {
  readonly id: string;
  /** What is compared with platform properties: its labels, and its tools by their fingerprints. */
  readonly labels: Readonly<Record<string, string>>;
  readonly slots: number;
  readonly used: number;
  /**
   * `closed`: it matches but takes nothing at this moment, since it refused something or failed. `scaling`: no agent yet,
   * but a pool that could bring one; its id is the pool's name.
   */
  readonly standing: "open" | "closed" | "draining" | "scaling";
  /** Of a pool, for a person: how it stands now. */
  readonly outlook?: () => string;
}

/** The place that an agent is while it holds so many executions. */
export function placeOf(
  { id, labels, tools, slots }: AgentInfo,
  { used, standing }: Pick<Place, "used" | "standing">,
): Place {
  // The reserved label `agent` ties an execution to one agent.
  const properties = new Map(Object.entries({ ...labels, agent: id }));
  for (const { name, fingerprint } of tools) properties.set(toolProperty(name), fingerprint);
  return { id, labels: Object.fromEntries(properties), slots, used, standing };
}

/** The next execution and where it goes; undefined when nothing that waits fits anywhere now. */
export function nextPlacement(
  queue: WaitingQueue,
  places: Iterable<Place>,
  running: (fairGroup: string) => number,
): { readonly waiting: Waiting; readonly agentId: string } | undefined {
  const all = [...places];
  const free = all.filter(({ standing, used, slots }) => standing === "open" && used < slots);
  if (free.length === 0) return undefined;
  const fit = (requirement: Requirement) => free.filter((place) => fits(place, requirement, all));
  const waiting = queue.next((requirement) => fit(requirement).length > 0, running);
  if (waiting === undefined) return undefined;
  const place = emptiest(fit(waiting.requirement));
  return place === undefined ? undefined : { waiting, agentId: place.id };
}

/** Whether the place may have it; one that it avoids only while no other, busy or not, ever could. */
function fits({ id, labels }: Place, requirement: Requirement, all: readonly Place[]): boolean {
  if (!satisfies(labels, requirement)) return false;
  const { avoids } = requirement;
  if (avoids === undefined || !avoids.includes(id)) return true;
  return !all.some((other) => canServe(other) && !avoids.includes(other.id) && satisfies(other.labels, requirement));
}

function canServe({ standing }: Place): boolean {
  return standing === "open" || standing === "closed";
}

/** Spreads the load: the agent with the greatest share of free slots, then the first by id. */
function emptiest(places: readonly Place[]): Place | undefined {
  let best: Place | undefined;
  for (const place of places) {
    if (best === undefined) best = place;
    const difference = place.used / place.slots - best.used / best.slots;
    if (difference < 0 || (difference === 0 && place.id < best.id)) best = place;
  }
  return best;
}

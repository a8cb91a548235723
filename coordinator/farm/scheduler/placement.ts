import type { AgentInfo } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { toolProperty } from "../../../shared/pipeline/tool-property.ts";
import { importProperty } from "../../../shared/source/import-property.ts";
import { type Heap, heap } from "./heap.ts";
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
   * Whether it takes something. Not at this moment: `refusing`, until its next heartbeat, or `resting`, since it failed at
   * something. Nothing more: `spent`, which was given all it will take, or `draining`.
   */
  readonly standing: "open" | "refusing" | "resting" | "spent" | "draining";
}

/** The label that ties an execution to one agent. Each agent has its own id there, whatever it says. */
const ownLabel = "agent";

/** The place that an agent is while it holds so many executions. */
export function placeOf(
  { id, labels, tools, features, slots }: AgentInfo,
  { used, standing }: Pick<Place, "used" | "standing">,
): Place {
  const properties = new Map(Object.entries({ ...labels, [ownLabel]: id }));
  for (const { name, fingerprint } of tools) properties.set(toolProperty(name), fingerprint);
  if (features.includes(importProperty)) properties.set(importProperty, "true");
  return { id, labels: Object.fromEntries(properties), slots, used, standing };
}

/**
 * All places, so that the best one for a requirement costs O(different offers + log of the places): agents that offer the
 * same are kept together, and most farms have few kinds of agents.
 */
export interface Places {
  /** Adds it, or puts it in the place of what was known of it. */
  set(place: Place): void;
  remove(id: string): void;
  get(id: string): Place | undefined;
  all(): Iterable<Place>;
  /** The open place with the greatest share of free slots that may have it, then the first by id. */
  bestFor(requirement: Requirement): Place | undefined;
  /** Those that could ever have it. */
  matching(requirement: Requirement): Matching;
  /** Places that are open and have a free slot. */
  readonly free: number;
}

/** Agents that could have something, now or later. */
export interface Matching {
  /** How many do not drain. */
  readonly taking: number;
  /** Of these, those that have a free slot and still take nothing at this moment. */
  readonly pausing: readonly Place[];
  readonly draining: readonly Place[];
}

/** Agents that offer the same. */
interface Offer {
  readonly key: string;
  /** But for the label that is each one's own. */
  readonly labels: Readonly<Record<string, string>>;
  /** Open, with a free slot. */
  readonly free: Heap<Offering>;
  readonly pausing: Set<Offering>;
  readonly draining: Set<Offering>;
  size: number;
}

/** An agent among those that offer the same. It stays what it is while the agent's place changes. */
interface Offering {
  place: Place;
  readonly offer: Offer;
}

export function places(): Places {
  const byId = new Map<string, Offering>();
  const offers = new Map<string, Offer>();
  /** By requirement; begun anew when there is another offer. */
  const matches = new Map<string, readonly Offer[]>();
  let free = 0;

  function offerOf(all: Place["labels"]): Offer {
    const common = Object.entries(all).filter(([name]) => name !== ownLabel);
    const labels = Object.fromEntries(common);
    const key = JSON.stringify(common.sort(([a], [b]) => (a < b ? -1 : 1)));
    let offer = offers.get(key);
    if (offer === undefined) {
      offer = { key, labels, free: heap(isEmptier), pausing: new Set(), draining: new Set(), size: 0 };
      offers.set(key, offer);
      matches.clear();
    }
    return offer;
  }

  function matchesOf(requirement: Requirement): readonly Offer[] {
    const { offerKey } = requirement;
    let found = matches.get(offerKey);
    if (found === undefined) {
      found = [...offers.values()].filter(({ labels }) => satisfies(labels, requirement));
      if (matches.size >= limits.matchedRequirements) matches.clear();
      matches.set(offerKey, found);
    }
    return found;
  }

  /** The one that it is tied to: undefined when it is tied to none, an empty list when that one does not fit. */
  function tied(requirement: Requirement): readonly Place[] | undefined {
    const own = requirement.properties.find(({ name }) => name === ownLabel);
    if (own === undefined) return undefined;
    const place = byId.get(own.value)?.place;
    const isFit = place !== undefined && satisfies(place.labels, requirement);
    return isFit && !requirement.excludes?.includes(place.id) ? [place] : [];
  }

  function remove(id: string): void {
    const known = byId.get(id);
    if (known === undefined) return;
    const { offer } = known;
    byId.delete(id);
    if (offer.free.remove(known)) free -= 1;
    offer.pausing.delete(known);
    offer.draining.delete(known);
    offer.size -= 1;
    if (offer.size > 0) return;
    offers.delete(offer.key);
    matches.clear();
  }

  function add(place: Place, offer: Offer): Offering {
    const added = { place, offer };
    byId.set(place.id, added);
    offer.size += 1;
    return added;
  }

  function change(offering: Offering, place: Place): void {
    const { pausing, draining, free: ofOffer } = offering.offer;
    const before = ofOffer.size;
    offering.place = place;
    pausing.delete(offering);
    draining.delete(offering);
    if (place.standing === "draining") draining.add(offering);
    else if (isPausing(place)) pausing.add(offering);
    if (isFree(place)) {
      ofOffer.add(offering);
      ofOffer.moved(offering);
    } else ofOffer.remove(offering);
    free += ofOffer.size - before;
  }

  /** How many of these agents match and do not drain. */
  function takingAmong(ids: readonly string[], matching: readonly Offer[]): number {
    return ids.filter((id) => {
      const known = byId.get(id);
      return known !== undefined && known.place.standing !== "draining" && matching.includes(known.offer);
    }).length;
  }

  /** How many match, do not drain and may have it. */
  function takingOf({ excludes = [] }: Requirement, matching: readonly Offer[]): number {
    const taking = matching.reduce((sum, { size, draining }) => sum + size - draining.size, 0);
    return taking - takingAmong(excludes, matching);
  }

  /** Those that must not have it, and those that it had better not have while another one could. */
  function unfitFor(requirement: Requirement, matching: readonly Offer[]): readonly string[] {
    const { avoids = [], excludes = [] } = requirement;
    const avoided = avoids.filter((id) => !excludes.includes(id));
    const isWithoutChoice = takingOf(requirement, matching) === takingAmong(avoided, matching);
    return isWithoutChoice ? excludes : [...excludes, ...avoided];
  }

  return {
    set(place) {
      const before = byId.get(place.id);
      // Mostly what changes is how much of it is used.
      const offer = before?.place.labels === place.labels ? before.offer : offerOf(place.labels);
      if (before !== undefined && before.offer !== offer) remove(place.id);
      change(byId.get(place.id) ?? add(place, offer), place);
    },
    remove,
    get: (id) => byId.get(id)?.place,
    *all() {
      for (const { place } of byId.values()) yield place;
    },
    bestFor(requirement) {
      const one = tied(requirement);
      if (one !== undefined) return one.find(isFree);
      const matching = matchesOf(requirement);
      const isChoosy = requirement.avoids !== undefined || requirement.excludes !== undefined;
      const unfit = isChoosy ? unfitFor(requirement, matching) : [];
      let best: Offering | undefined;
      for (const { free: ofOffer } of matching) {
        const first = unfit.length === 0 ? ofOffer.first : ofOffer.firstThat(({ place }) => !unfit.includes(place.id));
        if (first !== undefined && (best === undefined || isEmptier(first, best))) best = first;
      }
      return best?.place;
    },
    matching(requirement) {
      const one = tied(requirement);
      if (one !== undefined) {
        const draining = one.filter(({ standing }) => standing === "draining");
        return { taking: one.length - draining.length, pausing: one.filter(isPausing), draining };
      }
      const found = matchesOf(requirement);
      const { excludes = [] } = requirement;
      const having = (kind: "pausing" | "draining") =>
        found.flatMap((offer) => [...offer[kind]].map(({ place }) => place)).filter(({ id }) => !excludes.includes(id));
      return { taking: takingOf(requirement, found), pausing: having("pausing"), draining: having("draining") };
    },
    get free() {
      return free;
    },
  };
}

/** The next execution and where it goes; undefined when nothing that waits fits anywhere now. */
export function nextPlacement(
  queue: Pick<WaitingQueue, "next">,
  farm: Pick<Places, "bestFor" | "free">,
): { readonly waiting: Waiting; readonly agentId: string } | undefined {
  if (farm.free === 0) return undefined;
  const waiting = queue.next((requirement) => farm.bestFor(requirement) !== undefined);
  const place = waiting && farm.bestFor(waiting.requirement);
  return waiting && place && { waiting, agentId: place.id };
}

function isFree({ standing, used, slots }: Place): boolean {
  return standing === "open" && used < slots;
}

function isPausing({ standing, used, slots }: Place): boolean {
  return (standing === "refusing" || standing === "resting") && used < slots;
}

/** Spreads the load: the greatest share of free slots, then the first by id. */
function isEmptier({ place: a }: Offering, { place: b }: Offering): boolean {
  const difference = a.used / a.slots - b.used / b.slots;
  return difference < 0 || (difference === 0 && a.id < b.id);
}

import type { Clock } from "../../../shared/clock.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import type { Member } from "./members.ts";
import type { AgentOrder, PoolProvider } from "./pool-provider.ts";

/** What a pool's provider was asked for and what it has said: in memory, for a new start asks it first. */
export interface ProviderRecord {
  /** What it named after its last call; undefined when it has to be asked anew. */
  readonly listed: ReadonlySet<string> | undefined;
  /** Something has happened that its next word may differ for. */
  doubt(): void;
  /** Asks it when it is time; gives the ids that it runs and that nobody asked for. */
  list(members: readonly Member[], signal: AbortSignal): Promise<readonly string[]>;
  wasAdded(id: string): boolean;
  /** It was added long enough ago for the provider to name it. */
  isSettled(id: string): boolean;
  isRemoved(id: string): boolean;
  /** Nobody asked for it, but it runs. */
  found(id: string): void;
  add(order: AgentOrder, signal: AbortSignal): Promise<void>;
  /** Those of them that it must be asked to remove now; those that it still names after a while once more. */
  toRemove(ids: readonly string[]): readonly string[];
  remove(ids: readonly string[], signal: AbortSignal): Promise<void>;
  forget(id: string): void;
}

export function providerRecord(provider: PoolProvider, clock: Clock): ProviderRecord {
  let listed: ReadonlySet<string> | undefined;
  let listedAtMs = 0;
  /** On the monotonic clock, by id. */
  const addedAtMs = new Map<string, number>();
  const removedAtMs = new Map<string, number>();
  const longAgo = Number.NEGATIVE_INFINITY;

  return {
    get listed() {
      return listed;
    },
    doubt() {
      listed = undefined;
    },
    async list(members, signal) {
      const isOld = members.length > 0 && clock.monotonicMs() - listedAtMs >= poolLimits.listMs;
      if (listed !== undefined && !isOld) return [];
      const names = new Set(await provider.list(signal));
      listed = names;
      listedAtMs = clock.monotonicMs();
      for (const { id, state } of members) {
        // From an earlier start of the coordinator: what was added then has long been named, or never was.
        if (!addedAtMs.has(id) && (state !== "asked" || names.has(id))) addedAtMs.set(id, longAgo);
      }
      const known = new Set(members.map(({ id }) => id));
      return [...names].filter((id) => !known.has(id));
    },
    wasAdded: (id) => addedAtMs.has(id),
    isSettled(id) {
      const atMs = addedAtMs.get(id);
      return atMs !== undefined && clock.monotonicMs() - atMs >= poolLimits.settleMs;
    },
    isRemoved: (id) => removedAtMs.has(id),
    found: (id) => void addedAtMs.set(id, longAgo),
    async add(order, signal) {
      listed = undefined; // also when it fails: a part may have been done
      await provider.add(order, signal);
      for (const { id } of order.agents) addedAtMs.set(id, clock.monotonicMs());
    },
    toRemove: (ids) =>
      ids.filter((id) => {
        const atMs = removedAtMs.get(id);
        return atMs === undefined || (listed?.has(id) === true && clock.monotonicMs() - atMs >= poolLimits.listMs);
      }),
    async remove(ids, signal) {
      listed = undefined;
      await provider.remove(ids, signal);
      for (const id of ids) removedAtMs.set(id, clock.monotonicMs());
    },
    forget(id) {
      addedAtMs.delete(id);
      removedAtMs.delete(id);
    },
  };
}

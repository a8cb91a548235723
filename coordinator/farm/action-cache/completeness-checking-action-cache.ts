import type { Cas } from "../../../shared/cas/cas.ts";
import type { ActionCache } from "./action-cache.ts";

/** Turns a hit whose outputs are gone into a miss: clients that build without the bytes trust a hit to be downloadable. */
export function completenessCheckingActionCache(base: ActionCache, cas: Pick<Cas, "findMissing">): ActionCache {
  return {
    ...base,
    async get(action, signal) {
      const entry = await base.get(action, signal);
      if (entry === undefined) return undefined;
      const missing = await cas.findMissing(entry.closure, signal); // also extends the life of what is there
      return missing.length === 0 ? entry : undefined;
    },
  };
}

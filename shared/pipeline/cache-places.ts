import { limits } from "../limits.ts";
import { pathsOverlap } from "./relative-path.ts";
import type { PathProblem } from "./shape-problems.ts";
import type { YamlPath } from "./yaml-value.ts";

/** Something of a task that is at a path of its working directory. */
export interface Place {
  /** For a person: `output "app"`. */
  readonly what: string;
  readonly landing: string;
  /** Of its entry in the file; of the task where that comes from the defaults. */
  readonly path: YamlPath;
}

/**
 * Caches of one task that are where something else is: in an output they would come out, an input or artifact would be
 * what the last task left. Inputs are looked at when a run is planned, as only then the source is there.
 */
export function cacheProblems(caches: readonly Place[], others: readonly Place[]): PathProblem[] {
  if (caches.length > limits.taskCaches) {
    const path = caches[limits.taskCaches]?.path ?? [];
    const message = `the task has ${caches.length} caches; at most ${limits.taskCaches} are possible`;
    return [{ path, part: "key", message, hint: "one cache may hold several folders" }];
  }
  return caches.flatMap(({ what, landing, path }, index): PathProblem[] => {
    const other = [...others, ...caches.slice(0, index)].find((place) => pathsOverlap(place.landing, landing));
    if (other === undefined) return [];
    const message = `${what} is at ${landing}, where ${other.what} is: ${other.landing}`;
    return [{ path, part: "key", message, hint: "give it a folder of its own" }];
  });
}

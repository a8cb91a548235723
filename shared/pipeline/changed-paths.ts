import { limits } from "../limits.ts";
import { type GlobBudget, type GlobPattern, globMatches, globPath, readGlob } from "./glob.ts";

/** Whether something changed that any of these globs names and none of those with `!` excludes. */
export type IsChanged = (patterns: readonly string[]) => boolean;

/**
 * Asks the same of a list of paths again and again, so answers are kept. Everything counts as changed where the list is
 * not known, and where it would take more than `limits.globSteps` to tell: then a task runs that need not have.
 * @throws RangeError for what is no glob.
 */
export function changedIn(paths: readonly string[] | undefined): IsChanged {
  const known = new Map<string, boolean>();
  const budget: GlobBudget = { steps: limits.globSteps };
  const split = (paths ?? []).map(globPath);

  function compute(patterns: readonly string[]): boolean {
    const wanted: GlobPattern[] = [];
    const excluded: GlobPattern[] = [];
    for (const pattern of patterns) {
      const reading = readGlob(pattern);
      if ("wrong" in reading) throw new RangeError(`a pattern ${reading.wrong}`);
      (reading.value.excludes ? excluded : wanted).push(...reading.value.alternatives);
    }
    if (paths === undefined) return true;
    const matches = (globs: readonly GlobPattern[], path: (typeof split)[number]) =>
      globs.some((glob) => globMatches(glob, path, budget));
    const changed = split.some((path) => matches(wanted, path) && !matches(excluded, path));
    return changed || budget.steps < 0;
  }

  return (patterns) => {
    const key = JSON.stringify(patterns);
    const present = known.get(key);
    if (present !== undefined) return present;
    const answer = compute(patterns);
    known.set(key, answer);
    return answer;
  };
}

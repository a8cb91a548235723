import { limits } from "../limits.ts";
import type { TreeEntry } from "../merkle/tree-entry.ts";
import { type Glob, type GlobBudget, type GlobPath, globMatches, readGlob } from "./glob.ts";
import { lowerBound, rangeBelow, sortedByPath } from "./path-order.ts";
import type { InputGlob } from "./pipeline.ts";

/** The part of a source that some globs choose. Equal sets of globs give the same object, so that work on it is shared. */
export interface InputSet {
  /** Sorted by path. */
  readonly entries: readonly TreeEntry[];
  /** Globs without `!` that match nothing, each with a hint: a task would silently lack its inputs. */
  readonly unmatched: ReadonlyMap<string, string>;
}

export interface InputSelector {
  /** Undefined globs choose the whole source; otherwise what any glob matches and no excluding glob does, in any order. */
  select(globs: readonly InputGlob[] | undefined): InputSet;
  /** The globs are so many or so wild that matching them was given up; what was selected is then worthless. */
  exhausted(): boolean;
}

/**
 * Selects inputs from one source many times. Each glob is matched once, and only against what lies below its literal
 * beginning: 500 tasks over 20,000 files are a few milliseconds.
 */
export function inputSelector(source: readonly TreeEntry[]): InputSelector {
  const sorted = sortedByPath(source);
  const budget: GlobBudget = { steps: limits.globSteps };
  const whole: InputSet = { entries: sorted, unmatched: new Map() };
  const matchesByPattern = new Map<string, readonly number[]>();
  const sets = new Map<string, InputSet>();

  function matchesOf(glob: Glob, pattern: string): readonly number[] {
    let found = matchesByPattern.get(pattern);
    if (found === undefined) {
      const indexes = new Set<number>();
      for (const alternative of glob.alternatives) matchRange(sorted, alternative, budget, indexes);
      found = [...indexes];
      matchesByPattern.set(pattern, found);
    }
    return found;
  }

  function build(globs: readonly InputGlob[]): InputSet {
    const compiled = globs.map(compile);
    const included = new Set<number>();
    const unmatched = new Map<string, string>();
    for (const { compiled: one, pattern } of compiled.filter((each) => !each.compiled.excludes)) {
      const matches = matchesOf(one, pattern);
      if (matches.length === 0) unmatched.set(pattern, unmatchedHint(sorted, pattern));
      for (const index of matches) included.add(index);
    }
    // Only exclusions: they take away from the whole source.
    const nothing = globs.length === 0;
    const chosen = new Uint8Array(sorted.length);
    if (!nothing && compiled.every((each) => each.compiled.excludes)) chosen.fill(1);
    for (const index of included) chosen[index] = 1;
    for (const { compiled: one, pattern } of compiled.filter((each) => each.compiled.excludes)) {
      for (const index of matchesOf(one, pattern)) chosen[index] = 0;
    }
    return { entries: sorted.filter((_, index) => chosen[index] === 1), unmatched };
  }

  return {
    select(globs) {
      if (globs === undefined) return whole;
      const key = JSON.stringify([...new Set(globs.map((glob) => glob.pattern))].toSorted());
      let set = sets.get(key);
      if (set === undefined) {
        set = build(globs);
        sets.set(key, set);
      }
      return set;
    },
    exhausted: () => budget.steps < 0,
  };
}

/** A pipeline that was parsed has no wrong globs; one made by hand that has some matches nothing by them. */
function compile(glob: InputGlob): { compiled: Glob; pattern: string } {
  const reading = readGlob(glob.pattern);
  const excludes = glob.pattern.startsWith("!");
  const pattern = excludes ? glob.pattern.slice(1) : glob.pattern;
  return { compiled: "value" in reading ? reading.value : { excludes, alternatives: [] }, pattern };
}

function matchRange(sorted: readonly TreeEntry[], glob: GlobPath, budget: GlobBudget, found: Set<number>): void {
  const test = (index: number) => {
    if (globMatches(glob, sorted[index]?.path ?? "", budget)) found.add(index);
  };
  if (glob.literal) return test(lowerBound(sorted, glob.base));
  const { start, end } = glob.base === "" ? { start: 0, end: sorted.length } : rangeBelow(sorted, glob.base);
  for (let index = start; index < end && budget.steps >= 0; index++) test(index);
}

function unmatchedHint(sorted: readonly TreeEntry[], pattern: string): string {
  const { start, end } = rangeBelow(sorted, pattern.replace(/\/$/, ""));
  if (end > start) return `"${pattern}" is a folder; write "${pattern}/" for everything below it`;
  return "remove it, or check that the file is part of the source and not ignored";
}

import type { Blob } from "../cas/cas.ts";
import { type Digest, type DigestKey, emptyDigest } from "../digest.ts";
import { limits } from "../limits.ts";
import type { TreeEntry } from "../merkle/tree-entry.ts";
import { type Glob, type GlobBudget, type GlobPattern, globMatches, globPath, readGlob } from "./glob.ts";
import { collision } from "./graft.ts";
import { lowerBound, rangeBelow, sortedByPath } from "./path-order.ts";
import type { InputGlob } from "./pipeline.ts";
import { sourceTree } from "./source-tree.ts";

/** The part of a source that some globs choose. Equal sets of globs give the same object, so that work on it is shared. */
export interface InputSet {
  /** Of its tree. */
  readonly root: Digest;
  /** Globs without `!` that match nothing, each with a hint: a task would silently lack its inputs. */
  readonly unmatched: ReadonlyMap<string, string>;
  /** The input that something landing at the path would replace, lie in or hide. */
  collision(path: string): string | undefined;
}

export interface InputSelector {
  /** Undefined globs choose the whole source; otherwise what any glob matches and no excluding glob does, in any order. */
  select(globs: readonly InputGlob[] | undefined): InputSet;
  /** Every Directory of the trees of all sets selected so far, once. */
  readonly directories: ReadonlyMap<DigestKey, Blob>;
  /** Globs and sets are so many that the work was given up; what was selected is then worthless. */
  exhausted(): boolean;
}

/**
 * Selects inputs from one source many times. Each glob is matched once, only against what lies below its literal
 * beginning, and trees share whole folders: 500 tasks over 20,000 files are a fraction of a second.
 */
export function inputSelector(source: readonly TreeEntry[]): InputSelector {
  const sorted = sortedByPath(source);
  const paths = sorted.map((entry) => globPath(entry.path));
  const trees = sourceTree(sorted);
  const budget: GlobBudget = { steps: limits.globSteps };
  let flagsLeft = limits.plannedFlags;
  const matchesByPattern = new Map<string, readonly number[]>();
  const sets = new Map<string, InputSet>();
  const exhausted = () => budget.steps < 0 || flagsLeft < 0 || trees.exhausted();

  function matchesOf({ glob, pattern }: CompiledGlob): readonly number[] {
    let found = matchesByPattern.get(pattern);
    if (found === undefined) {
      const indexes = new Set<number>();
      for (const one of glob.alternatives) {
        const { start, end } = candidates(sorted, one);
        for (let index = start; index < end && budget.steps >= 0; index++) {
          if (globMatches(one, paths[index] ?? [], budget)) indexes.add(index);
        }
      }
      found = [...indexes];
      matchesByPattern.set(pattern, found);
    }
    return found;
  }

  function setOf(chosen: Uint8Array, unmatched: ReadonlyMap<string, string>): InputSet {
    const root = exhausted() ? emptyDigest : trees.build(chosen);
    const counts = (index: number) => {
      flagsLeft -= 1;
      return chosen[index] === 1;
    };
    return { root, unmatched, collision: (path) => collision(sorted, path, counts) };
  }

  function choose(globs: readonly InputGlob[] | undefined): InputSet {
    flagsLeft -= sorted.length;
    const chosen = new Uint8Array(exhausted() ? 0 : sorted.length);
    const unmatched = new Map<string, string>();
    if (globs === undefined) return setOf(chosen.fill(1), unmatched);
    const compiled = globs.map(compile);
    const including = compiled.filter(({ glob }) => !glob.excludes);
    // Globs that all exclude take away from the whole source; no globs at all choose nothing.
    if (including.length === 0 && compiled.length > 0) chosen.fill(1);
    for (const glob of including) {
      const matches = matchesOf(glob);
      if (matches.length === 0) unmatched.set(glob.pattern, unmatchedHint(sorted, glob.pattern));
      for (const index of matches) chosen[index] = 1;
    }
    for (const glob of compiled) {
      if (glob.glob.excludes) for (const index of matchesOf(glob)) chosen[index] = 0;
    }
    return setOf(chosen, unmatched);
  }

  return {
    select(globs) {
      const key = JSON.stringify(globs && [...new Set(globs.map((glob) => glob.pattern))].toSorted()) ?? "";
      let set = sets.get(key);
      if (set === undefined) {
        set = choose(globs);
        sets.set(key, set);
      }
      return set;
    },
    directories: trees.directories,
    exhausted,
  };
}

interface CompiledGlob {
  readonly glob: Glob;
  /** Without its `!`. */
  readonly pattern: string;
}

/** A pipeline that was parsed has no wrong globs; one made by hand that has some matches nothing by them. */
function compile({ pattern }: InputGlob): CompiledGlob {
  const reading = readGlob(pattern);
  const excludes = pattern.startsWith("!");
  const glob = "value" in reading ? reading.value : { excludes, alternatives: [] };
  return { glob, pattern: excludes ? pattern.slice(1) : pattern };
}

/** The range in which all matches lie. */
function candidates(sorted: readonly TreeEntry[], glob: GlobPattern): { start: number; end: number } {
  if (glob.base === "") return { start: 0, end: sorted.length };
  if (!glob.literal) return rangeBelow(sorted, glob.base);
  const exact = lowerBound(sorted, glob.base);
  return { start: exact, end: exact + (sorted[exact]?.path === glob.base ? 1 : 0) };
}

function unmatchedHint(sorted: readonly TreeEntry[], pattern: string): string {
  const { start, end } = rangeBelow(sorted, pattern.replace(/\/$/, ""));
  if (end > start) return `"${pattern}" is a folder; write "${pattern}/" for everything below it`;
  return "remove it, or check that the file is part of the source and not ignored";
}

import { MillraceError } from "../errors.ts";
import type { TreeEntry, TreeNode } from "../merkle/tree-entry.ts";
import { lowerBound, rangeBelow, sortedByPath } from "./path-order.ts";
import { pathsOverlap } from "./relative-path.ts";

/** An artifact, and where it is to stand. */
export interface Graft {
  readonly path: string;
  readonly node: TreeNode;
}

/**
 * A task's inputs with the artifacts that it uses put in their places, ready for `buildTree`.
 * @throws MillraceError failed_precondition when an artifact would land on an input or on another artifact; planning has
 * ruled this out for every plan it made.
 */
export function graftArtifacts(inputs: readonly TreeEntry[], uses: readonly Graft[]): TreeEntry[] {
  const sorted = sortedByPath(inputs);
  const landed: Graft[] = [];
  for (const use of uses) {
    const other = landed.find((graft) => pathsOverlap(graft.path, use.path))?.path ?? collision(sorted, use.path);
    if (other !== undefined) {
      throw new MillraceError(
        "failed_precondition",
        `an artifact cannot land at ${use.path}, as ${other} is there: give the use another path`,
      );
    }
    landed.push(use);
  }
  return [...sorted, ...landed];
}

/**
 * The input that something landing at `path` would replace, lie in or hide. `sorted` is as `sortedByPath` makes it, and
 * only entries that count, by index, are looked at.
 */
export function collision(
  sorted: readonly TreeEntry[],
  path: string,
  counts: (index: number) => boolean = () => true,
): string | undefined {
  const isThere = (index: number, wanted: string) => sorted[index]?.path === wanted && counts(index);
  for (let slash = path.indexOf("/"); slash !== -1; slash = path.indexOf("/", slash + 1)) {
    const above = path.slice(0, slash);
    if (isThere(lowerBound(sorted, above), above)) return above;
  }
  if (isThere(lowerBound(sorted, path), path)) return path;
  const { start, end } = rangeBelow(sorted, path);
  for (let index = start; index < end; index++) if (counts(index)) return sorted[index]?.path;
  return undefined;
}

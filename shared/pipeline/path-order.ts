import type { TreeEntry } from "../merkle/tree-entry.ts";
import { placeInOrder } from "../place-in-order.ts";

/** By code unit of the path, so that everything below a folder is one range. A sorted input is recognised and cheap. */
export function sortedByPath(entries: readonly TreeEntry[]): readonly TreeEntry[] {
  return entries.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}

/** The index of the first entry whose path is not less. */
export function lowerBound(sorted: readonly TreeEntry[], path: string): number {
  return placeInOrder(sorted, (entry) => entry.path < path);
}

/** The range of entries strictly below a folder: `0` is the character after `/`. */
export function rangeBelow(sorted: readonly TreeEntry[], folder: string): { start: number; end: number } {
  return { start: lowerBound(sorted, `${folder}/`), end: lowerBound(sorted, `${folder}0`) };
}

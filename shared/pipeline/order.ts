import { limits } from "../limits.ts";

/** An order in which each comes after what it needs, and the ways in which there is none. */
export interface Ordering {
  /** As near to the given order as needs allow. Complete only without cycles. */
  readonly order: readonly string[];
  /** Each as a path back to its beginning, `[a, b, a]`: a needs b, and b needs a. One for every need that closes one, up to `limits.pipelineProblems`. */
  readonly cycles: readonly (readonly string[])[];
}

/** Depth first over needs, in the given order; without recursion, as chains may be as long as a run has tasks. */
export function orderByNeeds(names: Iterable<string>, needsOf: (name: string) => readonly string[]): Ordering {
  const order: string[] = [];
  const cycles: string[][] = [];
  const done = new Set<string>();
  for (const start of names) {
    if (done.has(start)) continue;
    const open = new Map<string, Iterator<string>>([[start, needsOf(start).values()]]);
    const path = [start];
    for (let name = path.at(-1); name !== undefined; name = path.at(-1)) {
      const need = open.get(name)?.next();
      if (need === undefined || need.done === true) {
        path.pop();
        open.delete(name);
        done.add(name);
        order.push(name);
      } else if (open.has(need.value)) {
        if (cycles.length >= limits.pipelineProblems) continue;
        cycles.push([...path.slice(path.indexOf(need.value)), need.value]);
      } else if (!done.has(need.value)) {
        open.set(need.value, needsOf(need.value).values());
        path.push(need.value);
      }
    }
  }
  return { order, cycles };
}

/** Everything that these need, and what that needs, and so on; with these themselves. */
export function closure(names: Iterable<string>, needsOf: (name: string) => readonly string[]): Set<string> {
  const found = new Set(names);
  // A Set's iterator also visits what is added on the way.
  for (const name of found) for (const need of needsOf(name)) found.add(need);
  return found;
}

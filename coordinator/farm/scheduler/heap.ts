/**
 * Things in an order that may change under them. The first is at hand; to add, remove or move one costs O(log n). Each is
 * in it at most once, by identity.
 */
export interface Heap<T> extends Iterable<T> {
  add(item: T): void;
  /** Whether it was there. */
  remove(item: T): boolean;
  /** What it is ordered by has changed. Say so before anything else is asked. */
  moved(item: T): void;
  readonly first: T | undefined;
  readonly size: number;
  /** The first that passes: O(k log n) when k do not. Iterating gives all, in no order. */
  firstThat(passes: (item: T) => boolean): T | undefined;
}

/** @param before a strict order: of two different things, one goes before the other */
export function heap<T>(before: (a: T, b: T) => boolean): Heap<T> {
  const items: T[] = [];
  const indexes = new Map<T, number>();

  function put(item: T, index: number): void {
    items[index] = item;
    indexes.set(item, index);
  }

  /** From this index towards the first. */
  function rise(item: T, from: number): number {
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = items[parent] as T;
      if (!before(item, above)) break;
      put(above, index);
      index = parent;
    }
    put(item, index);
    return index;
  }

  function sink(item: T, from: number): void {
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1] as T, items[child] as T)) child += 1;
      const below = items[child] as T;
      if (!before(below, item)) break;
      put(below, index);
      index = child;
    }
    put(item, index);
  }

  const settle = (item: T, index: number): void => sink(item, rise(item, index));

  return {
    add(item) {
      if (!indexes.has(item)) rise(item, items.push(item) - 1);
    },
    remove(item) {
      const index = indexes.get(item);
      if (index === undefined) return false;
      indexes.delete(item);
      const last = items.pop() as T;
      if (last !== item) settle(last, index);
      return true;
    },
    moved(item) {
      const index = indexes.get(item);
      if (index !== undefined) settle(item, index);
    },
    get first() {
      return items[0];
    },
    get size() {
      return items.length;
    },
    firstThat(passes) {
      const [first] = items;
      if (first === undefined || passes(first)) return first;
      const edge = heap<T>(before); // what follows what did not pass
      for (let failed: T | undefined = first; failed !== undefined; failed = edge.first) {
        edge.remove(failed);
        const index = indexes.get(failed) ?? 0;
        for (const child of items.slice(2 * index + 1, 2 * index + 3)) edge.add(child);
        if (edge.first === undefined || passes(edge.first)) return edge.first;
      }
      return undefined;
    },
    [Symbol.iterator]: () => items[Symbol.iterator](),
  };
}

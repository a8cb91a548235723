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

/** Where in a heap something is. */
interface Node<T> {
  readonly item: T;
  index: number;
}

/** @param before a strict order: of two different things, one goes before the other */
export function heap<T>(before: (a: T, b: T) => boolean): Heap<T> {
  const nodes: Node<T>[] = [];
  /** Looked into once for each change: what moves on the way knows its index itself. */
  const byItem = new Map<T, Node<T>>();

  function put(node: Node<T>, index: number): void {
    nodes[index] = node;
    node.index = index;
  }

  /** From this index towards the first. */
  function rise(node: Node<T>, from: number): number {
    let index = from;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = nodes[parent] as Node<T>;
      if (!before(node.item, above.item)) break;
      put(above, index);
      index = parent;
    }
    put(node, index);
    return index;
  }

  function sink(node: Node<T>, from: number): void {
    let index = from;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= nodes.length) break;
      let below = nodes[child] as Node<T>;
      const other = nodes[child + 1];
      if (other !== undefined && before(other.item, below.item)) {
        child += 1;
        below = other;
      }
      if (!before(below.item, node.item)) break;
      put(below, index);
      index = child;
    }
    put(node, index);
  }

  const settle = (node: Node<T>, index: number): void => sink(node, rise(node, index));

  return {
    add(item) {
      if (byItem.has(item)) return;
      const node = { item, index: nodes.length };
      byItem.set(item, node);
      nodes.push(node);
      rise(node, node.index);
    },
    remove(item) {
      const node = byItem.get(item);
      if (node === undefined) return false;
      byItem.delete(item);
      const last = nodes.pop() as Node<T>;
      if (last !== node) settle(last, node.index);
      return true;
    },
    moved(item) {
      const node = byItem.get(item);
      if (node !== undefined) settle(node, node.index);
    },
    get first() {
      return nodes[0]?.item;
    },
    get size() {
      return nodes.length;
    },
    firstThat(passes) {
      const [first] = nodes;
      if (first === undefined || passes(first.item)) return first?.item;
      const edge = heap<Node<T>>((a, b) => before(a.item, b.item)); // what follows what did not pass
      for (let failed: Node<T> | undefined = first; failed !== undefined; failed = edge.first) {
        edge.remove(failed);
        for (const child of nodes.slice(2 * failed.index + 1, 2 * failed.index + 3)) edge.add(child);
        if (edge.first === undefined || passes(edge.first.item)) return edge.first?.item;
      }
      return undefined;
    },
    [Symbol.iterator]: () => byItem.keys(),
  };
}

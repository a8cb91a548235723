import fc from "fast-check";
import { expect, test } from "vitest";
import { inOrder } from "../../../shared/in-order.ts";

async function* all<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

test("results come in the order of the items, however long each piece of work takes, and never too many at a time", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 30 }),
      fc.integer({ min: 1, max: 8 }),
      async (turns, ahead) => {
        const begun: number[] = [];
        let running = 0;
        const work = async (index: number) => {
          begun.push(index);
          running += 1;
          expect(running).toBeLessThanOrEqual(ahead);
          for (let turn = turns[index] ?? 0; turn > 0; turn -= 1) await Promise.resolve();
          running -= 1;
          return index;
        };
        const indices = [...turns.keys()];
        expect(await Array.fromAsync(inOrder(all(indices), work, { ahead }))).toEqual(indices);
        expect(begun).toEqual(indices);
      },
    ),
  );
});

test("what has come while a piece of work goes on is begun, and shares what it waits for", async () => {
  const disk = Promise.withResolvers<void>();
  const third = Promise.withResolvers<void>();
  let begun = 0;
  const work = (item: number) => {
    begun += 1;
    if (begun === 3) third.resolve();
    return disk.promise.then(() => item);
  };
  const results = Array.fromAsync(inOrder(all([1, 2, 3]), work, { ahead: 8 }));
  await third.promise;
  disk.resolve();
  expect(await results).toEqual([1, 2, 3]);
});

test("the first error of an item or of work ends it, and no work is begun after it", async () => {
  async function* broken() {
    yield 1;
    throw new Error("the items end");
  }
  const begun: number[] = [];
  const work = async (item: number) => {
    begun.push(item);
    if (item === 2) throw new Error("the work fails");
    return item;
  };
  await expect(Array.fromAsync(inOrder(broken(), work, { ahead: 2 }))).rejects.toThrow("the items end");
  await expect(Array.fromAsync(inOrder(all([1, 2, 3, 4]), work, { ahead: 1 }))).rejects.toThrow("the work fails");
  expect(begun).toEqual([1, 1, 2]);
});

test("a reader that leaves does not wait for an item that may never come", async () => {
  let isReturned = false;
  const source = {
    [Symbol.asyncIterator]: () => ({
      count: 0,
      next() {
        this.count += 1;
        return this.count === 1 ? Promise.resolve({ value: 1, done: false }) : new Promise<never>(() => {});
      },
      return() {
        isReturned = true;
        return new Promise<never>(() => {});
      },
    }),
  };
  for await (const result of inOrder(source, async (item) => item, { ahead: 4 })) {
    expect(result).toBe(1);
    break;
  }
  expect(isReturned).toBe(true);
});

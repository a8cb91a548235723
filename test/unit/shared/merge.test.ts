import { expect, test } from "vitest";
import { merge } from "../../../shared/merge.ts";

/** Typed by its first value: an empty stream needs to be told. */
async function* of<T>(...values: T[]): AsyncGenerator<T, void> {
  yield* values;
}

async function all<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of stream) values.push(value);
  return values;
}

test("every value of every stream comes, those of one stream in its order", async () => {
  const merged = await all(merge<string>(of(of("a1", "a2", "a3"), of<string>(), of("b1", "b2")), 10));
  expect(merged.toSorted()).toEqual(["a1", "a2", "a3", "b1", "b2"]);
  expect(merged.filter((value) => value.startsWith("a"))).toEqual(["a1", "a2", "a3"]);
});

test("no more streams are open at a time than allowed, and all get their turn", async () => {
  let open = 0;
  let most = 0;
  async function* counted(name: number): AsyncGenerator<number> {
    open += 1;
    most = Math.max(most, open);
    yield name;
    await new Promise((resolve) => setImmediate(resolve));
    open -= 1;
  }
  async function* many() {
    for (let name = 0; name < 100; name += 1) yield counted(name);
  }
  const merged = await all(merge(many(), 7));
  expect(new Set(merged).size).toBe(100);
  expect(most).toBeLessThanOrEqual(7);
});

test("a stream that waits does not hold up the others", async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  async function* slow() {
    yield await promise;
  }
  const seen: string[] = [];
  for await (const value of merge<string>(of(slow(), of("quick")), 10)) {
    seen.push(value);
    resolve("slow");
  }
  expect(seen).toEqual(["quick", "slow"]);
});

test("a slow reader holds one value of each stream, not all of them", async () => {
  let made = 0;
  async function* busy() {
    for (; ; made += 1) yield made;
  }
  const reader = merge(of(busy()), 10);
  await reader.next();
  await new Promise((resolve) => setImmediate(resolve));
  expect(made).toBeLessThan(4);
  await reader.return(undefined);
});

test("an error of one stream is the reader's, and leaving ends the others", async () => {
  let ended = false;
  async function* other() {
    try {
      for (;;) yield "x";
    } finally {
      ended = true;
    }
  }
  async function* broken(): AsyncGenerator<string> {
    yield "y";
    throw new Error("the disk went away");
  }
  await expect(all(merge(of(other(), broken()), 10))).rejects.toThrow("the disk went away");
  await new Promise((resolve) => setImmediate(resolve));
  expect(ended).toBe(true);
});

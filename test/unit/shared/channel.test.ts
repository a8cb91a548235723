import { expect, test } from "vitest";
import { channel } from "../../../shared/channel.ts";

async function all<T>(values: AsyncIterable<T>): Promise<T[]> {
  const taken: T[] = [];
  for await (const value of values) taken.push(value);
  return taken;
}

test("values come in order, then the end; what comes later is dropped", async () => {
  const numbers = channel<number>(10);
  await numbers.put(1);
  const reading = all(numbers);
  await numbers.put(2);
  numbers.end();
  await numbers.put(3);
  expect(await reading).toEqual([1, 2]);
});

test("the error comes after what was put before it, and the first end counts", async () => {
  const numbers = channel<number>(10);
  await numbers.put(1);
  numbers.end(new Error("broken"));
  numbers.end();
  const reader = numbers[Symbol.asyncIterator]();
  expect(await reader.next()).toEqual({ done: false, value: 1 });
  await expect(reader.next()).rejects.toThrow("broken");
});

test("who puts waits for a slow reader, and no longer than to the end", async () => {
  const numbers = channel<number>(1);
  const done: number[] = [];
  const put = (value: number) => numbers.put(value).then(() => done.push(value));
  await put(1);
  const second = put(2);
  await Promise.resolve();
  expect(done).toEqual([1]);
  await numbers[Symbol.asyncIterator]().next();
  await second;
  const third = put(3);
  await Promise.resolve();
  expect(done).toEqual([1, 2]);
  numbers.end();
  await third;
  expect(done).toEqual([1, 2, 3]);
});

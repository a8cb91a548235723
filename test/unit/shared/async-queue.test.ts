import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { asyncQueue } from "../../../shared/async-queue.ts";

test("the consumer gets everything in order, whichever side is first", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 60 }), async (pushes) => {
      const queue = asyncQueue<number>({ limit: 100 });
      const received: Promise<IteratorResult<number, undefined>>[] = [];
      let pushed = 0;
      for (const push of pushes) {
        if (push) queue.push(pushed++);
        else received.push(queue.next());
      }
      queue.end();
      const rest = await Array.fromAsync(queue);
      const values = (await Promise.all(received)).flatMap((result) => (result.done === true ? [] : [result.value]));
      expect([...values, ...rest]).toEqual(Array.from({ length: pushed }, (_, n) => n));
    }),
  );
});

test("values may be undefined", async () => {
  const queue = asyncQueue<undefined>({ limit: 2 });
  queue.push(undefined);
  queue.end();
  expect(await queue.next()).toEqual({ done: false, value: undefined });
  expect(await queue.next()).toEqual({ done: true, value: undefined });
});

test("an error comes after what was pushed before it, once, and then the end", async () => {
  const queue = asyncQueue<string>({ limit: 10 });
  queue.push("a");
  queue.fail(new Error("broken"));
  expect(queue.push("late")).toBe(false);
  expect(await queue.next()).toEqual({ done: false, value: "a" });
  await expect(queue.next()).rejects.toThrow("broken");
  expect(await queue.next()).toEqual({ done: true, value: undefined });
});

test("an error reaches a consumer that waits", async () => {
  const queue = asyncQueue<string>({ limit: 10 });
  const [first, second] = [queue.next(), queue.next()];
  queue.fail(new Error("broken"));
  await expect(first).rejects.toThrow("broken");
  expect(await second).toEqual({ done: true, value: undefined });
});

test("a consumer that falls too far behind reads what there is room for and is then told", async () => {
  const queue = asyncQueue<number>({ limit: 2 });
  expect([1, 2, 3, 4].map((value) => queue.push(value))).toEqual([true, true, false, false]);
  expect([(await queue.next()).value, (await queue.next()).value]).toEqual([1, 2]);
  await expect(queue.next()).rejects.toMatchObject({ code: "resource_exhausted" });
});

test("the producer is told once that the consumer left, and a pending next is freed", async () => {
  const onEnd = vi.fn();
  const queue = asyncQueue<number>({ limit: 10, onEnd });
  queue.push(1);
  queue.push(2);
  for await (const value of queue) {
    expect(value).toBe(1);
    break;
  }
  expect(onEnd).toHaveBeenCalledTimes(1);
  expect(queue.push(3)).toBe(false);
  expect(await queue.next()).toEqual({ done: true, value: undefined });

  const waiting = asyncQueue<number>({ limit: 10, onEnd });
  const pending = waiting.next();
  await waiting.return();
  expect(await pending).toEqual({ done: true, value: undefined });
  waiting.end();
  expect(onEnd).toHaveBeenCalledTimes(2);
});

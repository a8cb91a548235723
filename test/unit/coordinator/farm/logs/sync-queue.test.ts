import { expect, test } from "vitest";
import { syncQueue } from "../../../../../coordinator/farm/logs/sync-queue.ts";

/** A disk whose syncs end when the test says so. */
function slowDisk() {
  const running: { thing: string; end: PromiseWithResolvers<void> }[] = [];
  const begun: string[] = [];
  return {
    begun,
    sync(thing: string) {
      const end = Promise.withResolvers<void>();
      begun.push(thing);
      running.push({ thing, end });
      return end.promise;
    },
    async endFirst(error?: Error) {
      const first = running.shift();
      if (error === undefined) first?.end.resolve();
      else first?.end.reject(error);
      await new Promise(setImmediate);
    },
  };
}

test("requests made while a thing waits share one sync; one made while it runs gets a sync of its own", async () => {
  const disk = slowDisk();
  const queue = syncQueue(disk.sync, { concurrency: 1 });
  const done: string[] = [];
  const request = (thing: string, label: string) => void queue.request(thing).then(() => done.push(label));
  request("a", "a1"); // runs
  request("a", "a2"); // came too late for it
  request("a", "a3");
  request("b", "b1");
  request("b", "b2");
  await disk.endFirst();
  expect(done).toEqual(["a1"]);
  await disk.endFirst();
  expect(done).toEqual(["a1", "a2", "a3"]);
  await disk.endFirst();
  expect(done).toEqual(["a1", "a2", "a3", "b1", "b2"]);
  expect(disk.begun).toEqual(["a", "a", "b"]);
});

test("no more syncs run at once than allowed", async () => {
  const disk = slowDisk();
  const queue = syncQueue(disk.sync, { concurrency: 2 });
  const all = Promise.all(["a", "b", "c", "d", "e"].map((thing) => queue.request(thing)));
  expect(disk.begun).toEqual(["a", "b"]);
  for (const count of [3, 4, 5, 5, 5]) {
    await disk.endFirst();
    expect(disk.begun).toHaveLength(count);
  }
  await all;
});

test("a failed sync fails those who waited for it and nobody else", async () => {
  const disk = slowDisk();
  const queue = syncQueue(disk.sync, { concurrency: 1 });
  const failed = expect(queue.request("a")).rejects.toThrow("no space");
  const fine = queue.request("b");
  await disk.endFirst(new Error("no space"));
  await disk.endFirst();
  await failed;
  await fine;
  const again = queue.request("a");
  await disk.endFirst();
  await again;
});

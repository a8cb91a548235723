import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openCacheShelf } from "../../../agent/caches/cache-shelf.ts";
import { openAgentDatabase } from "../../../agent/database.ts";
import { openBlobFiles } from "../../../agent/store/blob-files.ts";
import { evictor } from "../../../agent/store/evictor.ts";
import { openUsageIndex } from "../../../agent/store/usage-index.ts";
import { type Digest, type DigestKey, digestKey, digestOf } from "../../../shared/digest.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

const plain = (digest: Digest) => ({ digest, executable: false });

/** A store of at most ten blobs of ten bytes, as one start of an agent sees it. */
async function start(folder: string, clock: FakeClock, name = "agent.sqlite") {
  const errors: string[] = [];
  const onError = ({ message }: Error) => void errors.push(message);
  const files = openBlobFiles(join(folder, "store"));
  const database = await openAgentDatabase({ path: join(folder, name), onError });
  const usage = await openUsageIndex({ database, files, clock, onError });
  const pinned = new Map<DigestKey, number>();
  const disk = { freeBytes: 1_000 };
  const caches = await openCacheShelf({ database, folder: join(folder, "caches"), clock, onError });
  let treesRemoved = 0;
  const eviction = evictor({
    ...{ files, usage, pinned, caches, onError },
    bounds: { highBytes: 100, lowBytes: 50, freeBytesMin: 200 },
    freeBytes: () => disk.freeBytes,
    onDiskLow: async () => void treesRemoved++,
  });
  let closed = false;
  const stop = async () => {
    if (closed) return;
    closed = true;
    await eviction.close();
    await caches.close();
    await database.close();
  };
  onTestFinished(stop);
  return {
    ...{ files, usage, pinned, caches, errors, eviction, disk, stop },
    treesRemoved: () => treesRemoved,
    put(number: number): Digest {
      const data = Buffer.from(String(number).padStart(10, "0"));
      const digest = digestOf(data);
      files.put({ digest, data });
      usage.used([plain(digest)]);
      clock.advance(1_000);
      return digest;
    },
    async settle() {
      eviction.check();
      await eviction.close();
    },
    async left(digests: readonly Digest[]): Promise<number[]> {
      const found = await Promise.all(digests.map((digest) => files.find(plain(digest))));
      return found.flatMap((path, index) => (path === undefined ? [] : [index]));
    },
  };
}

test("a store above its high mark goes down to the low one, least recently used first, and keeps what is pinned", async () => {
  const store = await start(tempDir(), fakeClock());
  const digests = Array.from({ length: 11 }, (_, index) => store.put(index));
  store.usage.used(digests.slice(1, 3).map(plain));
  store.pinned.set(digestKey(digests[0] as Digest), 1);
  await store.settle();
  expect(await store.left(digests)).toEqual([0, 1, 2, 9, 10]);
  expect(store.usage.bytes()).toBe(50);
  expect(store.errors).toEqual([]);
});

test("a store within its bounds is left alone", async () => {
  const store = await start(tempDir(), fakeClock());
  const digests = Array.from({ length: 10 }, (_, index) => store.put(index));
  await store.settle();
  expect(await store.left(digests)).toHaveLength(10);
});

test("a disk that is short of room empties the store but for what is pinned, trees first, and it is said", async () => {
  const store = await start(tempDir(), fakeClock());
  const digests = Array.from({ length: 5 }, (_, index) => store.put(index));
  store.pinned.set(digestKey(digests[2] as Digest), 1);
  store.disk.freeBytes = 10;
  await store.settle();
  expect(await store.left(digests)).toEqual([2]);
  expect(store.treesRemoved()).toBe(1);
  expect(store.errors).toHaveLength(1);
  expect(store.errors[0]).toMatch(/has 10 bytes free, less than the 200/);
});

test("times of use outlive a restart, and blobs that no table knows are evicted all the same", async () => {
  const folder = tempDir();
  const clock = fakeClock();
  const before = await start(folder, clock);
  const digests = Array.from({ length: 11 }, (_, index) => before.put(index));
  before.usage.used([plain(digests[0] as Digest)]);
  await before.stop();
  const after = await start(folder, clock);
  await after.settle();
  expect(await after.left(digests)).toEqual([0, 7, 8, 9, 10]);
  await after.stop();
  const forgetful = await start(folder, clock, "another.sqlite");
  expect(forgetful.usage.bytes()).toBe(50);
  expect([...forgetful.usage.blobs()].every(({ lastUseMs }) => lastUseMs === clock.nowMs())).toBe(true);
});

test("a use in the future, of a clock that has been put back, keeps nothing for ever", async () => {
  const folder = tempDir();
  const ahead = await start(folder, fakeClock(Date.UTC(2030, 0, 1)));
  const stale = ahead.put(99);
  await ahead.stop();
  const store = await start(folder, fakeClock(Date.UTC(2026, 0, 1)));
  const digests = [stale, ...Array.from({ length: 10 }, (_, index) => store.put(index))];
  await store.settle();
  expect(await store.left(digests)).toEqual([6, 7, 8, 9, 10]);
});

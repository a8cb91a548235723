import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, test } from "vitest";
import { digestKey } from "../../../../shared/digest.ts";
import { from, MillraceError } from "../../../../shared/errors.ts";
import { blobOf, noise } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { keptFarm, promiseMs, runWith } from "../../../support/kept-farm.ts";
import { runs as cases } from "../../../support/property-runs.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const hour = 60 * 60 * 1000;

const blob = (n: number, sizeBytes = 100_000) => blobOf(noise(sizeBytes, `blob ${n}`));

test("a cached result goes whole by its last use, and blobs that others own stay", async () => {
  const { put, get, isThere, clock, keeper } = await keptFarm({ cacheAgeMs: 10 * hour });
  await put(1, [blob(1), blob(2)]);
  await put(2, [blob(2), blob(3)]);
  clock.advance(8 * hour);
  expect(await get(2)).toBeDefined();
  clock.advance(4 * hour);
  expect(await keeper.collect(true)).toMatchObject({ cachedResults: 1, blobs: 1, blobBytes: 100_000 });
  expect(await isThere(blob(1))).toBe(true);
  expect(await keeper.collect(false)).toMatchObject({ cachedResults: 1, blobs: 1, blobBytes: 100_000 });
  expect(await Promise.all([1, 2, 3].map((n) => isThere(blob(n))))).toEqual([false, true, true]);
  expect(await get(1)).toBeUndefined();
  expect(await get(2)).toBeDefined();
});

test("over its bound the store gives up the least recently used results, then artifacts of the oldest run", async () => {
  const { put, get, isThere, clock, keeper, cas, finished, disk } = await keptFarm({ bytesMax: 1_000_000 });
  const [older, newer] = [blob(10, 200_000), blob(11, 200_000)];
  await cas.writeMany([older, newer]);
  finished.push(runWith("run_2", [newer], clock.nowMs()), runWith("run_1", [older], clock.nowMs() - hour));
  for (const n of [1, 2, 3]) {
    await put(n, [blob(n, 190_000)]);
    clock.advance(hour);
  }
  clock.advance(promiseMs);
  await keeper.collect(false);
  expect([await get(1), await get(2), await get(3)].map((hit) => hit !== undefined)).toEqual([false, true, true]);
  expect(disk.usage().diskBytes).toBeLessThanOrEqual(800_000);
  clock.advance(promiseMs + hour);
  await cas.writeMany([blob(20, 600_000)]);
  expect([await isThere(older), await isThere(newer)]).toEqual([false, true]);
  expect(disk.usage().diskBytes).toBeLessThanOrEqual(1_000_000);
});

test("what a run has made in a re-run is kept like what it made before, and what that took the place of is not", async () => {
  const { isThere, clock, keeper, cas, finished } = await keptFarm({ cacheAgeMs: 10 * hour });
  const [first, second] = [blob(30), blob(31)];
  await cas.writeMany([first, second]);
  finished.push(runWith("run_1", [first], clock.nowMs()));
  await keeper.collect(false);
  clock.advance(hour);
  finished.splice(0, 1, runWith("run_1", [second], clock.nowMs()));
  clock.advance(30 * 24 * hour);
  await keeper.collect(false);
  expect([await isThere(first), await isThere(second)]).toEqual([false, true]);
});

test("when nothing may go, who writes is refused, and accepted once what is there has been idle", async () => {
  const { put, clock, cas } = await keptFarm({ bytesMax: 500_000 });
  await put(1, [blob(1, 450_000)]);
  expect((await failure("resource_exhausted", () => cas.writeMany([blob(2)]))).details).toHaveLength(1);
  clock.advance(promiseMs + 1_000);
  await cas.writeMany([blob(2)]);
});

test("a result that has lost a blob is a miss at once, and is removed", async () => {
  const { put, get, disk, keeper } = await keptFarm();
  await put(1, [blob(1), blob(2)]);
  await disk.quarantine(blob(1).digest);
  expect(await get(1)).toBeUndefined();
  expect(await keeper.collect(false)).toMatchObject({ cachedResults: 1, blobs: 0 });
});

const numbers = fc.uniqueArray(fc.nat({ max: 15 }), { minLength: 1, maxLength: 3 });
const life = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("put"), action: fc.nat({ max: 8 }), blobs: numbers } as const),
    fc.record({ kind: fc.constant("get"), action: fc.nat({ max: 8 }) } as const),
    fc.record({ kind: fc.constantFrom("pin", "begin", "finish"), blobs: numbers } as const),
    fc.record({ kind: fc.constant("wait"), hours: fc.constantFrom(0.5, 1, 3) } as const),
    fc.record({ kind: fc.constant("collect") } as const),
  ),
  { minLength: 10, maxLength: 40 },
);

test("a hit never lacks a byte, nothing pinned or active goes, and the bound holds", async () => {
  await fc.assert(
    fc.asyncProperty(life, async (steps) => {
      const { put, get, isThere, clock, keeper, disk, cas, active, finished } = await keptFarm({ bytesMax: 700_000 });
      const sized = (n: number) => blob(n, n % 3 === 0 ? 140_000 : 20_000);
      let number = 0;
      /** Over the bound it is refused, and nothing else may be wrong with it. */
      const tried = async (write: () => Promise<void>): Promise<boolean> => {
        try {
          await write();
          return true;
        } catch (error) {
          expect(from(error).code).toBe("resource_exhausted");
          return false;
        }
      };
      for (const step of steps) {
        if (step.kind === "wait") clock.advance(step.hours * hour);
        else if (step.kind === "collect") await keeper.collect(false);
        else if (step.kind === "put") await tried(() => put(step.action, step.blobs.map(sized)));
        else if (step.kind === "get") {
          const hit = await get(step.action);
          if (hit === undefined) continue;
          clock.advance(promiseMs - 1_000); // as long as a client may take to fetch
          await keeper.collect(false);
          expect(await cas.findMissing(hit.closure)).toEqual([]);
        } else if (step.kind === "finish") {
          const done = active.shift();
          if (done !== undefined) finished.unshift({ ...done, finishTime: timestampFromMs(clock.nowMs()) });
        } else if (await tried(() => cas.writeMany(step.blobs.map(sized)))) {
          number += 1;
          const state = runWith(`run_${number}`, step.blobs.map(sized), clock.nowMs());
          if (step.kind === "begin") active.push(state);
          else finished.unshift({ ...state, pinned: true });
        }
        const needed = [...active, ...finished.filter(({ pinned }) => pinned)];
        for (const { tasks } of needed) {
          for (const { content } of tasks.get("s/t")?.outcome?.artifacts ?? []) {
            const digest = content.value;
            const which = [...Array(16).keys()].map(sized).find((each) => each.digest.hash === digest?.hash);
            expect(which !== undefined && (await isThere(which)), `${digest?.hash}`).toBe(true);
          }
        }
        expect(disk.usage().diskBytes).toBeLessThanOrEqual(700_000);
      }
    }),
    { numRuns: cases(6) },
  );
});

test("under load and while the disk takes only some writes, no promise is broken; nor after a restart", async () => {
  await fc.assert(
    fc.asyncProperty(fc.infiniteStream(fc.nat({ max: 99 })), async (chances) => {
      const dice = chances[Symbol.iterator]();
      const roll = (): number => dice.next().value ?? 0;
      let isFaulty = true;
      const [dir, clock] = [tempDir(), fakeClock()];
      const coped: unknown[] = [];
      const { put, get, cas, disk, keeper, close } = await keptFarm({
        ...{ bytesMax: 450_000, dir, clock, onError: (error) => coped.push(error) },
        around: (sqlite) => ({
          ...sqlite,
          async write(statements) {
            if (isFaulty && roll() < 15) throw new MillraceError("resource_exhausted", "no room for a page");
            return await sqlite.write(statements);
          },
        }),
      });
      const sized = (n: number) => blob(n, n % 4 === 0 ? 140_000 : 15_000);
      /** What its writer was told to be there, and when. */
      const promised = new Map<number, number>();
      const worker = async (): Promise<void> => {
        for (let step = 0; step < 15; step += 1) {
          const [action, a, b] = [roll() % 8, roll() % 16, roll() % 16];
          const askedMs = clock.nowMs(); // hours may pass until the answer
          try {
            if (roll() < 60) {
              await put(action, [sized(a), sized(b)]);
              for (const n of [a, b]) promised.set(n, Math.max(askedMs, promised.get(n) ?? 0));
            } else {
              const hit = await get(action);
              const missing = hit === undefined ? [] : await cas.findMissing(hit.closure);
              if (clock.nowMs() - askedMs <= promiseMs) expect(missing).toEqual([]);
            }
          } catch (error) {
            expect(from(error).code).toBe("resource_exhausted");
          }
        }
      };
      const workers = Promise.all([worker(), worker(), worker()]);
      for (let round = 0; round < 6; round += 1) {
        clock.advance(roll() < 50 ? hour : 3 * hour);
        await keeper.collect(false).catch((error: unknown) => expect(from(error).code).toBe("resource_exhausted"));
      }
      await workers;
      isFaulty = false;
      await keeper.collect(false);

      const kept = [...promised].filter(([, atMs]) => clock.nowMs() - atMs <= promiseMs).map(([n]) => sized(n));
      const expectAll = async (of: Pick<typeof disk, "beginRanking">): Promise<void> => {
        const found = await of.beginRanking().readMany(kept.map(({ digest }) => digest));
        for (const { digest, data } of kept) {
          expect(Buffer.compare(found.get(digestKey(digest)) ?? Buffer.alloc(0), data), digestKey(digest)).toBe(0);
        }
      };
      await expectAll(disk);
      await close();
      const again = await keptFarm({ dir, clock });
      await expectAll(again.disk);
      // Whatever the index names can be read.
      for (const n of Array(16).keys()) {
        const { digest, data } = sized(n);
        if ((await again.cas.findMissing([digest])).length > 0) continue;
        expect((await again.cas.readMany([digest])).get(digestKey(digest))?.byteLength).toBe(data.byteLength);
      }
      await again.close();
    }),
    { numRuns: cases(4) },
  );
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { chooseCaches, chooseEvictions, excessBytes } from "../../../agent/store/eviction.ts";
import { digestKey, digestOf } from "../../../shared/digest.ts";

const blobs = fc
  .array(fc.record({ bytes: fc.nat(1_000), lastUseMs: fc.nat(50), isPinned: fc.boolean() }), { maxLength: 40 })
  .map((all) => all.map((blob, index) => ({ ...blob, digest: digestOf(Buffer.from(String(index))) })));
const marks = fc
  .tuple(fc.nat(20_000), fc.nat(20_000))
  .map(([a, b]) => ({ lowBytes: Math.min(a, b), highBytes: Math.max(a, b) }));

test("an eviction frees enough, takes the oldest, no more than it must, and nothing that is pinned", () => {
  fc.assert(
    fc.property(
      blobs,
      marks,
      fc.nat(10_000),
      fc.nat(10_000),
      (all, { lowBytes, highBytes }, freeBytes, freeBytesMin) => {
        const bounds = { lowBytes, highBytes, freeBytesMin };
        const pinned = new Map(all.filter(({ isPinned }) => isPinned).map(({ digest }) => [digestKey(digest), 1]));
        const storedBytes = all.reduce((sum, { bytes }) => sum + bytes, 0);
        const chosen = chooseEvictions({ blobs: all, storedBytes, freeBytes, pinned }, bounds);
        const excess = excessBytes({ storedBytes, freeBytes }, bounds);
        const left = all.filter((blob) => !chosen.includes(blob) && !blob.isPinned);
        const freed = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
        expect(chosen.some(({ digest }) => pinned.has(digestKey(digest)))).toBe(false);
        if (left.length > 0) expect(freed).toBeGreaterThanOrEqual(excess);
        expect(freed - (chosen.at(-1)?.bytes ?? 0)).toBeLessThanOrEqual(Math.max(0, excess));
        const newest = Math.max(...chosen.map(({ lastUseMs }) => lastUseMs));
        for (const { lastUseMs } of left) expect(lastUseMs).toBeGreaterThanOrEqual(newest);
      },
    ),
  );
});

test("a store within its bounds on a disk with room loses nothing", () => {
  const bounds = { lowBytes: 80, highBytes: 100, freeBytesMin: 10 };
  expect(excessBytes({ storedBytes: 100, freeBytes: 10 }, bounds)).toBeLessThanOrEqual(0);
  expect(excessBytes({ storedBytes: 101, freeBytes: 10 }, bounds)).toBe(21);
  expect(excessBytes({ storedBytes: 5, freeBytes: 9 }, bounds)).toBe(3.5);
});

test("named caches go first, the oldest before the others, and no more of them than must", () => {
  fc.assert(
    fc.property(blobs, marks, (caches, { lowBytes, highBytes }) => {
      const bounds = { lowBytes, highBytes, freeBytesMin: 0 };
      const state = { storedBytes: caches.reduce((sum, { bytes }) => sum + bytes, 0) + 500, freeBytes: 1 };
      const chosen = chooseCaches(caches, state, bounds);
      const freed = chosen.reduce((sum, { bytes }) => sum + bytes, 0);
      const excess = Math.max(0, excessBytes(state, bounds));
      if (chosen.length < caches.length) expect(freed).toBeGreaterThanOrEqual(excess);
      expect(freed - (chosen.at(-1)?.bytes ?? 0)).toBeLessThanOrEqual(excess);
      const newest = Math.max(...chosen.map(({ lastUseMs }) => lastUseMs));
      for (const { lastUseMs } of caches.filter((cache) => !chosen.includes(cache)))
        expect(lastUseMs).toBeGreaterThanOrEqual(newest);
    }),
  );
});

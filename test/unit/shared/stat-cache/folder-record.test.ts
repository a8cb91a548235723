import fc from "fast-check";
import { expect, test } from "vitest";
import { digestOf } from "../../../../shared/digest.ts";
import { equalStats, isSettled, wentBack } from "../../../../shared/stat-cache/file-stats.ts";
import { type KnownFile, packRecord, unpackRecord } from "../../../../shared/stat-cache/folder-record.ts";

const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 30 });
const file: fc.Arbitrary<KnownFile> = fc
  .record({
    data: fc.uint8Array({ maxLength: 100 }),
    mtimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    ctimeNs: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    inode: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  })
  .map(({ data, ...stats }) => ({ stats: { ...stats, sizeBytes: data.byteLength }, digest: digestOf(data) }));
const record = fc.uniqueArray(fc.tuple(name, file), { selector: ([each]) => each }).map((files) => new Map(files));

test("a record comes back as it was packed", () => {
  fc.assert(
    fc.property(name, record, (folder, files) => {
      expect(unpackRecord(folder, packRecord(folder, files))).toEqual(files);
    }),
  );
});

test("a record with any bit flipped, or of another folder, is none", () => {
  fc.assert(
    fc.property(record, fc.nat(), fc.nat({ max: 7 }), (files, at, bit) => {
      const packed = packRecord("src", files);
      expect(unpackRecord("lib", packed)).toBeUndefined();
      const bytes = Buffer.concat([packed.files, packed.checksum]);
      const index = at % bytes.byteLength;
      bytes.writeUInt8(bytes.readUInt8(index) ^ (1 << bit), index);
      const flipped = { files: bytes.subarray(0, packed.files.byteLength), checksum: bytes.subarray(-32) };
      expect(unpackRecord("src", flipped)).toBeUndefined();
    }),
  );
});

const stats = { sizeBytes: 1, mtimeNs: 5_000_000_000n, ctimeNs: 5_000_000_000n, inode: 7n };

test("stats are equal only when all of them are", () => {
  expect(equalStats(stats, { ...stats })).toBe(true);
  for (const change of [{ sizeBytes: 2 }, { mtimeNs: 5_000_000_001n }, { ctimeNs: 1n }, { inode: 8n }]) {
    expect(equalStats(stats, { ...stats, ...change })).toBe(false);
  }
});

test("only what was changed more than two seconds before the snapshot is settled", () => {
  expect(isSettled(stats, 7_001)).toBe(true);
  expect(isSettled(stats, 7_000)).toBe(false);
  expect(isSettled({ ...stats, mtimeNs: 6_000_000_000n }, 7_001)).toBe(false);
  expect(isSettled({ ...stats, ctimeNs: 6_000_000_000n }, 7_001)).toBe(false);
});

test("what is settled cannot look like a later change, unless the clock went back", () => {
  fc.assert(
    fc.property(fc.nat(20_000), fc.nat(20_000), fc.nat(20_000), (changedMs, firstMs, secondMs) => {
      const changedNs = BigInt(changedMs) * 1_000_000n;
      if (!isSettled({ ...stats, mtimeNs: changedNs, ctimeNs: changedNs }, firstMs)) return;
      // Changed again between the snapshots by a clock that reads `secondMs` or a little more.
      if (!wentBack(firstMs, secondMs)) expect(secondMs).toBeGreaterThan(changedMs);
    }),
  );
});

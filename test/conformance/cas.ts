import { describe, expect, test } from "vitest";
import type { Cas } from "../../shared/cas/cas.ts";
import { type Digest, digestKey, emptyDigest } from "../../shared/digest.ts";
import { limits } from "../../shared/limits.ts";
import { blobOf, bytesOf, noise, pieces, store, textBlob } from "../support/blobs.ts";
import { failure } from "../support/codes.ts";

/** Around every size at which an adapter changes its ways. */
const sizes = [
  1,
  limits.smallBlobBytes - 1,
  limits.smallBlobBytes,
  limits.smallBlobBytes + 1,
  limits.streamChunkBytes,
  limits.batchAdvertisedBytes + 1,
];

/** What every adapter and decorator of Cas promises. `open` is called once a test. */
export function casConformance(name: string, open: () => Promise<Cas>): void {
  describe(`${name} as a store`, () => {
    test.each(sizes)("gives back a streamed blob of %i bytes as it was", async (sizeBytes) => {
      const cas = await open();
      const { digest, data } = blobOf(noise(sizeBytes));
      await cas.write(digest, pieces(data));
      expect(Buffer.compare(await bytesOf(cas.read(digest)), data)).toBe(0);
    });

    test.each(sizes)("gives back a batched blob of %i bytes as it was", async (sizeBytes) => {
      const cas = await open();
      const { digest, data } = blobOf(noise(sizeBytes));
      await cas.writeMany([{ digest, data }]);
      const found = await cas.readMany([digest]);
      expect(Buffer.compare(found.get(digestKey(digest)) ?? new Uint8Array(), data)).toBe(0);
    });

    test("reads in chunks of bounded size", async () => {
      const cas = await open();
      const { digest, data } = blobOf(noise(3 * limits.streamChunkBytes + 1));
      await cas.write(digest, pieces(data, data.byteLength));
      for await (const chunk of cas.read(digest)) expect(chunk.byteLength).toBeLessThanOrEqual(limits.streamChunkBytes);
    });

    test("names what is missing, in order and once", async () => {
      const cas = await open();
      const [here] = await store(cas, textBlob("here"));
      const [a, b] = [textBlob("a").digest, textBlob("b").digest];
      expect(await cas.findMissing([b, here as Digest, a, b, emptyDigest])).toEqual([b, a]);
      expect(await cas.findMissing([])).toEqual([]);
    });

    test("takes a digest with another size for another blob", async () => {
      const cas = await open();
      const [digest] = await store(cas, textBlob("four"));
      const other = { hash: (digest as Digest).hash, sizeBytes: 5 };
      expect(await cas.findMissing([other])).toEqual([other]);
      await failure("not_found", () => bytesOf(cas.read(other)));
    });

    test("always holds the empty blob", async () => {
      const cas = await open();
      expect(await cas.findMissing([emptyDigest])).toEqual([]);
      expect(await bytesOf(cas.read(emptyDigest))).toEqual(new Uint8Array());
      expect((await cas.readMany([emptyDigest])).get(digestKey(emptyDigest))).toEqual(new Uint8Array());
      await cas.write(emptyDigest, pieces(new Uint8Array()));
      await cas.writeMany([{ digest: emptyDigest, data: new Uint8Array() }]);
    });

    test("fails to read what is absent, and leaves it out of a batch", async () => {
      const cas = await open();
      const [here] = await store(cas, textBlob("here"));
      const absent = textBlob("absent").digest;
      await failure("not_found", () => bytesOf(cas.read(absent)));
      expect([...(await cas.readMany([absent, here as Digest])).keys()]).toEqual([digestKey(here as Digest)]);
    });

    test.each([10, limits.smallBlobBytes * 2])("reads any part of a blob of %i bytes", async (sizeBytes) => {
      const cas = await open();
      const { digest, data } = blobOf(noise(sizeBytes));
      await cas.writeMany([{ digest, data }]);
      const part = async (offset: number, limit?: number) =>
        Buffer.from(await bytesOf(cas.read(digest, limit === undefined ? { offset } : { offset, limit })));
      expect((await part(3)).equals(data.subarray(3))).toBe(true);
      expect((await part(3, 4)).equals(data.subarray(3, 7))).toBe(true);
      expect((await part(sizeBytes - 1, 100)).equals(data.subarray(-1))).toBe(true);
      expect((await part(sizeBytes)).byteLength).toBe(0);
      await failure("out_of_range", () => part(sizeBytes + 1));
      await failure("out_of_range", () => part(-1));
    });

    test.each([100, limits.smallBlobBytes * 2])(
      "refuses %i bytes that are not those named, and keeps nothing",
      async (sizeBytes) => {
        const cas = await open();
        const { digest, data } = blobOf(noise(sizeBytes));
        const wrong = noise(sizeBytes, "wrong");
        await failure("invalid_argument", () => cas.write(digest, pieces(wrong)));
        await failure("invalid_argument", () => cas.write(digest, pieces(data.subarray(1))));
        await failure("invalid_argument", () => cas.write(digest, pieces(Buffer.concat([data, data]), 64)));
        await failure("invalid_argument", () => cas.writeMany([textBlob("good"), { digest, data: wrong }]));
        expect(await cas.findMissing([digest])).toEqual([digest]);
      },
    );

    test.each([100, limits.smallBlobBytes * 2])(
      "keeps nothing of %i bytes whose source fails, and says why",
      async (sizeBytes) => {
        const cas = await open();
        const { digest, data } = blobOf(noise(sizeBytes));
        async function* failing() {
          yield data.subarray(0, sizeBytes / 2);
          throw new Error("the cable was cut");
        }
        await expect(cas.write(digest, failing())).rejects.toThrow("the cable was cut");
        expect(await cas.findMissing([digest])).toEqual([digest]);
        await cas.write(digest, pieces(data));
        expect(await cas.findMissing([digest])).toEqual([]);
      },
    );

    test("takes the same blob from many writers at once", async () => {
      const cas = await open();
      const [small, large] = [textBlob("same"), blobOf(noise(limits.smallBlobBytes * 3))];
      const writers = Array.from({ length: 8 }, (_, n) =>
        n % 2 === 0 ? cas.writeMany([small, large]) : cas.write(large.digest, pieces(large.data)),
      );
      await Promise.all(writers);
      expect(Buffer.compare(await bytesOf(cas.read(large.digest)), large.data)).toBe(0);
      expect(await bytesOf(cas.read(small.digest))).toEqual(small.data);
    });

    test("holds many small blobs", async () => {
      const cas = await open();
      const blobs = Array.from({ length: 3_000 }, (_, n) => textBlob(`blob number ${n} ${"x".repeat(n % 700)}`));
      await Promise.all([cas.writeMany(blobs.slice(0, 1_500)), cas.writeMany(blobs.slice(1_000))]);
      const found = await cas.readMany(blobs.map((blob) => blob.digest));
      expect(found.size).toBe(blobs.length);
      for (const { digest, data } of blobs) expect(found.get(digestKey(digest))).toEqual(data);
    });

    test("is not changed when its caller reuses the memory", async () => {
      const cas = await open();
      const { digest, data } = textBlob("keep me");
      const memory = new Uint8Array(data);
      await cas.writeMany([{ digest, data: memory }]);
      memory.fill(0);
      const read = (await cas.readMany([digest])).get(digestKey(digest));
      expect(read).toEqual(data);
      read?.fill(0);
      expect(await bytesOf(cas.read(digest))).toEqual(data);
    });

    test("lets a reader leave early", async () => {
      const cas = await open();
      const { digest, data } = blobOf(noise(4 * limits.streamChunkBytes));
      await cas.write(digest, pieces(data));
      for await (const chunk of cas.read(digest)) {
        expect(chunk.byteLength).toBeGreaterThan(0);
        break;
      }
      expect(await cas.findMissing([digest])).toEqual([]);
    });

    test("ends every call whose signal has aborted", async () => {
      const cas = await open();
      const { digest, data } = textBlob("late");
      const signal = AbortSignal.abort();
      await failure("canceled", () => cas.findMissing([digest], signal));
      await failure("canceled", () => bytesOf(cas.read(digest, {}, signal)));
      await failure("canceled", () => cas.readMany([digest], signal));
      await failure("canceled", () => cas.write(digest, pieces(data), signal));
      await failure("canceled", () => cas.writeMany([{ digest, data }], signal));
      expect(await cas.findMissing([digest])).toEqual([digest]);
    });

    test("ends a write whose signal aborts half way, and keeps nothing", async () => {
      const cas = await open();
      const { digest, data } = blobOf(noise(limits.smallBlobBytes * 4));
      const abort = new AbortController();
      async function* stalling() {
        yield data.subarray(0, 100_000);
        abort.abort();
        yield data.subarray(100_000);
      }
      await failure("canceled", () => cas.write(digest, stalling(), abort.signal));
      expect(await cas.findMissing([digest])).toEqual([digest]);
    });
  });
}

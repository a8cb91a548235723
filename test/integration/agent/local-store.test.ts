import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { patience } from "../../../agent/retry.ts";
import { openBlobFiles } from "../../../agent/store/blob-files.ts";
import { localStore } from "../../../agent/store/local-store.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { memoryCas } from "../../../shared/cas/memory-cas.ts";
import { systemClock } from "../../../shared/clock.ts";
import { type Digest, type DigestKey, digestKey, digestOf, parseDigestKey } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { scanTree } from "../../../shared/merkle/scan.ts";
import { tempDir } from "../../support/temp-dir.ts";

async function setup(wrap: (farm: Cas) => Pick<Cas, "read" | "readMany"> = (farm) => farm) {
  const farm = memoryCas();
  const fetched: string[] = [];
  const used: Digest[] = [];
  const counting: Cas = {
    ...farm,
    read(digest, range, signal) {
      fetched.push(digestKey(digest));
      return farm.read(digest, range, signal);
    },
    readMany(digests, signal) {
      fetched.push(...digests.map(digestKey));
      return farm.readMany(digests, signal);
    },
  };
  const folder = tempDir();
  const files = openBlobFiles(folder);
  const errors: string[] = [];
  const pinned = new Map<DigestKey, number>();
  const store = localStore({
    files,
    farm: wrap(counting),
    patiently: patience(systemClock, () => {}),
    onUse: (stored) => used.push(...stored.map(({ digest }) => digest)),
    pinned,
    onError: ({ message }) => errors.push(message),
  });
  return {
    ...{ store, files, fetched, used, pinned, errors, farm, folder },
    async give(text: string): Promise<Digest> {
      const blob = { digest: digestOf(Buffer.from(text)), data: Buffer.from(text) };
      await farm.writeMany([blob]);
      return blob.digest;
    },
  };
}

const { signal } = new AbortController();
const plain = (digest: Digest) => ({ digest, executable: false });

describe("the local store", () => {
  test("fetches what is missing, small or large, and never twice", async () => {
    const { store, give, fetched, used } = await setup();
    const small = await give("small");
    const large = await give("x".repeat(limits.smallBlobBytes + 1));
    await store.ensure([plain(small), plain(large), { digest: small, executable: true }], signal);
    await store.ensure([plain(small), plain(large)], signal);
    expect(fetched.sort()).toEqual([digestKey(small), digestKey(large)].sort());
    expect(used.slice(0, 2)).toEqual([small, large]);
    const found = await store.readMany([small, large], signal);
    expect(found.get(digestKey(large))?.byteLength).toBe(limits.smallBlobBytes + 1);
  });

  test("fetches a blob once for all who ask at the same time", async () => {
    const { store, give, fetched } = await setup();
    const digest = await give("wanted by many");
    await Promise.all(Array.from({ length: 10 }, () => store.ensure([plain(digest)], signal)));
    expect(fetched).toEqual([digestKey(digest)]);
  });

  test("names everything that the farm does not have, in one go", async () => {
    const { store } = await setup();
    const gone = [
      digestOf(Buffer.from("a")),
      digestOf(Buffer.from("b")),
      digestOf(Buffer.alloc(limits.smallBlobBytes * 2)),
    ];
    const failure = await store.ensure(gone.map(plain), signal).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "failed_precondition" });
    for (const digest of gone) expect(String(failure)).toContain(digestKey(digest));
  });

  test("waits while the farm is away", async () => {
    let calls = 0;
    const { store, give } = await setup((farm) => ({
      ...farm,
      async readMany(digests, inner) {
        if (++calls < 3) throw new MillraceError("unavailable", "on purpose");
        return await farm.readMany(digests, inner);
      },
    }));
    await store.ensure([plain(await give("patience"))], signal);
    expect(calls).toBe(3);
  });

  test("one who is interrupted does not take others along", async () => {
    const begun = Promise.withResolvers<void>();
    let calls = 0;
    const { store, give } = await setup((farm) => ({
      ...farm,
      async readMany(digests, inner) {
        if (++calls > 1) return await farm.readMany(digests, inner);
        begun.resolve();
        await new Promise((resolve) => inner?.addEventListener("abort", resolve));
        throw new MillraceError("canceled", "on purpose");
      },
    }));
    const digest = await give("shared");
    const stop = new AbortController();
    const first = store.ensure([plain(digest)], stop.signal);
    await begun.promise;
    const second = store.ensure([plain(digest)], signal);
    stop.abort(new MillraceError("canceled", "on purpose"));
    await expect(first).rejects.toMatchObject({ code: "canceled" });
    await second;
    expect(calls).toBe(2);
  });

  test("takes blobs that came with a message, once they are right", async () => {
    const { store, fetched } = await setup();
    const data = Buffer.from("inline");
    const digest = digestOf(data);
    await expect(store.put([{ digest, data: Buffer.from("forged") }])).rejects.toMatchObject({
      code: "invalid_argument",
    });
    await store.put([{ digest, data }]);
    await store.ensure([plain(digest)], signal);
    expect(fetched).toEqual([]);
  });

  test("keeps what a task made, so that it is not fetched", async () => {
    const { store, fetched, pinned, errors } = await setup();
    const made = tempDir();
    mkdirSync(join(made, "deep"));
    writeFileSync(join(made, "deep/small"), "made here");
    writeFileSync(join(made, "large"), "y".repeat(limits.smallBlobBytes + 1));
    const { tree, files } = await scanTree(made);
    await store.keep({ tree, files }, signal);
    const digests = [...files.keys(), ...tree.directories.keys()].map(parseDigestKey);
    writeFileSync(join(made, "deep/small"), "overwritten by a process that was left"); // a copy, not a link
    (await store.ensure(digests.map(plain), signal)).release();
    expect({ fetched, errors, pins: pinned.size }).toEqual({ fetched: [], errors: [], pins: 0 });
  });

  test("does not keep what changed since it was hashed, and says so", async () => {
    const { store, files: stored, errors, pinned } = await setup();
    const made = tempDir();
    writeFileSync(join(made, "a"), "first");
    const { tree, files } = await scanTree(made);
    writeFileSync(join(made, "a"), "other");
    await store.keep({ tree, files }, signal);
    expect(await stored.find(plain(digestOf(Buffer.from("first"))))).toBeUndefined();
    expect(errors).toHaveLength(1);
    expect(errors[0]).toMatch(/^keeping outputs for the next task: /);
    expect(pinned.size).toBe(0);
  });

  test("holds what was ensured until it is released, however often", async () => {
    const { store, give, pinned } = await setup();
    const digest = await give("pinned");
    const first = await store.ensure([plain(digest)], signal);
    const second = await store.ensure([plain(digest)], signal);
    first.release();
    first.release();
    expect(pinned.get(digestKey(digest))).toBe(1);
    second.release();
    expect(pinned.size).toBe(0);
    await expect(store.ensure([plain(digestOf(Buffer.from("nowhere")))], signal)).rejects.toThrow(/not in the store/);
    expect(pinned.size).toBe(0);
  });
});

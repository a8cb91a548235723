import { expect, test } from "vitest";
import { RetryInfoSchema } from "../../../../proto/gen/google/rpc/error_details_pb.ts";
import { boundedCas } from "../../../../shared/cas/bounded-cas.ts";
import type { Blob } from "../../../../shared/cas/cas.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { casConformance } from "../../../conformance/cas.ts";
import { blobOf, bytesOf, noise, pieces, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";

const roomy = { bytesMax: 1e9, bytes: () => 0, makeRoom: async () => {}, onWritten: () => {} };
casConformance("bounded memory", async () => boundedCas(memoryCas(), roomy));
casConformance("unbounded memory", async () =>
  boundedCas(memoryCas(), { ...roomy, bytesMax: Number.POSITIVE_INFINITY }),
);

const blob = (n: number, sizeBytes = 400) => blobOf(noise(sizeBytes, String(n)));

/** A store of at most 1,000 bytes, whose keeper gives away what `mayGo` says. */
function small() {
  const base = memoryCas();
  const held = new Map<string, Blob>();
  const mayGo: Blob[] = [];
  const seen = { rooms: 0, written: 0 };
  const bytes = () => [...held.values()].reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
  const counted = {
    ...base,
    async writeMany(blobs: readonly Blob[]) {
      await base.writeMany(blobs);
      for (const each of blobs) held.set(each.digest.hash, each);
    },
  };
  const cas = boundedCas(counted, {
    ...{ bytesMax: 1_000, bytes },
    async makeRoom() {
      seen.rooms += 1;
      for (const each of mayGo.splice(0)) {
        await base.quarantine(each.digest);
        held.delete(each.digest.hash);
      }
    },
    onWritten: () => void (seen.written += 1),
  });
  return { cas, mayGo, seen };
}

test("what finds no room is refused, with the time to come back; what is there already is not", async () => {
  const { cas, seen } = small();
  await cas.writeMany([blob(1), blob(2)]);
  const refused = await failure("resource_exhausted", () => cas.writeMany([blob(3)]));
  expect(refused.message).toContain("--cas-max-bytes");
  expect(refused.details).toEqual([
    { desc: RetryInfoSchema, value: { retryDelay: expect.objectContaining({ seconds: 30n }) } },
  ]);
  await cas.writeMany([blob(1), blob(2)]);
  await cas.write(blob(1).digest, pieces(blob(1).data));
  expect(await cas.findMissing([blob(1).digest, blob(3).digest])).toEqual([blob(3).digest]);
  expect(seen).toEqual({ rooms: 1, written: 3 });
});

test("what may go makes room for what comes", async () => {
  const { cas, mayGo } = small();
  await cas.writeMany([blob(1), blob(2)]);
  mayGo.push(blob(1));
  await cas.writeMany([blob(3)]);
  expect(await cas.findMissing([1, 2, 3].map((n) => blob(n).digest))).toEqual([blob(1).digest]);
});

test("writes that are under way count, so that many at once do not overdo it together", async () => {
  const { cas } = small();
  const release = Promise.withResolvers<void>();
  const slow = blob(1, 800);
  async function* slowly() {
    await release.promise;
    yield slow.data;
  }
  const writing = cas.write(slow.digest, slowly());
  await cas.findMissing([slow.digest]); // by then the other call has asked, too
  await failure("resource_exhausted", () => cas.writeMany([blob(2)]));
  release.resolve();
  await writing;
  expect(await bytesOf(cas.read(slow.digest))).toEqual(slow.data);
});

test("a write that failed gives its room back", async () => {
  const { cas } = small();
  for (let attempt = 0; attempt < 5; attempt += 1) {
    await failure("invalid_argument", () => cas.write(blob(1, 800).digest, pieces(textBlob("wrong").data)));
  }
  await cas.writeMany([blob(1, 800)]);
});

import { expect, test } from "vitest";
import type { Cas } from "../../../../shared/cas/cas.ts";
import { memoryCas } from "../../../../shared/cas/memory-cas.ts";
import { verifyingCas } from "../../../../shared/cas/verifying-cas.ts";
import { digestKey } from "../../../../shared/digest.ts";
import { casConformance } from "../../../conformance/cas.ts";
import { bytesOf, pieces, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";

casConformance("verifying memory", async () => {
  const base = memoryCas();
  return verifyingCas(base, { quarantine: base.quarantine, onCorrupt: () => expect.unreachable("nothing is corrupt") });
});

/** A store whose disk turns one byte, until the blob is written anew. */
function rotten() {
  const base = memoryCas();
  const corrupt: string[] = [];
  const lying: Cas = {
    ...base,
    async *read(digest, range, signal) {
      for await (const chunk of base.read(digest, range, signal)) yield chunk.fill(0, 0, 1);
    },
    async readMany(digests, signal) {
      const found = await base.readMany(digests, signal);
      for (const data of found.values()) data.fill(0, 0, 1);
      return found;
    },
  };
  const cas = verifyingCas(lying, {
    quarantine: base.quarantine,
    onCorrupt: (digest, problem) => corrupt.push(`${digestKey(digest)}: ${problem}`),
  });
  return { cas, corrupt };
}

test("a corrupt blob fails its reader, is told once, and is missing from then on", async () => {
  const { cas, corrupt } = rotten();
  const { digest, data } = textBlob("precious");
  await cas.writeMany([{ digest, data }]);
  const { message } = await failure("data_loss", () => bytesOf(cas.read(digest)));
  expect(message).toContain(digestKey(digest));
  expect(corrupt).toEqual([expect.stringContaining(digestKey(digest))]);
  expect(await cas.findMissing([digest])).toEqual([digest]);
  await failure("not_found", () => bytesOf(cas.read(digest)));
  await cas.write(digest, pieces(data));
  expect(await cas.findMissing([digest])).toEqual([]);
});

test("a corrupt blob is left out of a batch and is missing from then on", async () => {
  const { cas, corrupt } = rotten();
  const { digest, data } = textBlob("precious");
  await cas.writeMany([{ digest, data }]);
  expect(await cas.readMany([digest])).toEqual(new Map());
  expect(corrupt).toHaveLength(1);
  expect(await cas.findMissing([digest])).toEqual([digest]);
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseReadName, parseWriteName, readName, writeName } from "../../../../shared/rpc/resource-name.ts";
import { textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { digests } from "../../../support/tree-arbitraries.ts";

const { digest } = textBlob("x");
const { hash } = digest;
const identity = { digest, compressor: "identity" };

test("a printed name is parsed to what was printed", () => {
  const instances = fc.constantFrom("", "main", "org/team/project");
  fc.assert(
    fc.property(digests, instances, fc.uuid(), (each, instanceName, id) => {
      const expected = { digest: each, instanceName, compressor: "identity" };
      expect(parseReadName(readName(each, instanceName))).toEqual(expected);
      expect(parseWriteName(writeName(each, id, instanceName))).toEqual(expected);
    }),
  );
});

describe("names of other clients", () => {
  test.each([
    [`blobs/${hash}/1`, ""],
    [`/blobs/${hash}/1`, ""],
    [`a/b/blobs/${hash}/1`, "a/b"],
    [`a/blobs/sha256/${hash}/1`, "a"],
  ])("%s is read", (name, instanceName) => {
    expect(parseReadName(name)).toEqual({ ...identity, instanceName });
  });

  test.each([
    [`uploads/id/blobs/${hash}/1`, ""],
    [`a/b/uploads/id/blobs/${hash}/1/src/uploads/blobs/file.ts`, "a/b"],
    [`uploads/id/blobs/sha256/${hash}/1`, ""],
  ])("%s is written", (name, instanceName) => {
    expect(parseWriteName(name)).toEqual({ ...identity, instanceName });
  });

  test("a compressor is told", () => {
    expect(parseReadName(`compressed-blobs/zstd/${hash}/1`).compressor).toBe("zstd");
    expect(parseWriteName(`uploads/id/compressed-blobs/zstd/${hash}/1`).compressor).toBe("zstd");
  });
});

test.each([
  "",
  "blobs",
  `blobs/${hash}`,
  `blobs/${hash}/x`,
  `blobs/${hash}/-1`,
  `blobs/${hash}/1/more`,
  `blobs/${hash.toUpperCase()}/1`,
  `blobs/blake3/${hash}/1`,
  `compressed-blobs/${hash}/1`,
  `uploads/id/${hash}/1`,
])("'%s' is no name to read", async (name) => {
  await failure("invalid_argument", () => parseReadName(name));
});

test.each(["", `blobs/${hash}/1`, `uploads/blobs/${hash}/1`, `uploads//blobs/${hash}/1`, `uploads/id/blobs/${hash}`])(
  "'%s' is no name to write",
  async (name) => {
    await failure("invalid_argument", () => parseWriteName(name));
  },
);

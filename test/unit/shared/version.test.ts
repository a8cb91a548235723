import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isNewerVersion, version } from "../../../shared/version.ts";
import { repositoryRoot } from "../../support/source-files.ts";

const number = fc.nat({ max: 12 });
const triple = fc.tuple(number, number, number);

test("the version is package.json's", () => {
  expect(version).toBe(JSON.parse(readFileSync(`${repositoryRoot}/package.json`, "utf8")).version);
});

test("versions are in the order of their numbers, and what is none is newer than nothing", () => {
  fc.assert(
    fc.property(triple, triple, (a, b) => {
      const weight = ([major, minor, patch]: readonly number[]) =>
        (major ?? 0) * 10_000 + (minor ?? 0) * 100 + (patch ?? 0);
      expect(isNewerVersion(a.join("."), b.join("."))).toBe(weight(a) > weight(b));
    }),
  );
  expect(isNewerVersion("latest", "0.1.0")).toBe(false);
  expect(isNewerVersion("0.1.0", "latest")).toBe(false);
});

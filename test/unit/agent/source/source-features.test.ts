import { expect, test } from "vitest";
import { sourceFeatures } from "../../../../agent/wire-source.ts";

test("an agent imports sources with a git that takes its settings from the environment", () => {
  const withGit = (version: string) => sourceFeatures([{ name: "git", version }]).length === 1;
  expect(["2.31.0", "2.39.5", "2.100", "3.0.1"].filter(withGit)).toEqual(["2.31.0", "2.39.5", "2.100", "3.0.1"]);
  expect(["2.30.9", "1.99", "unknown", ""].filter(withGit)).toEqual([]);
  expect(sourceFeatures([{ name: "perl", version: "5.36.0" }])).toEqual([]);
});

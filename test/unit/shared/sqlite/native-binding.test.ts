import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { extractAddon } from "../../../../shared/sqlite/native-binding.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const addon = Buffer.from("native code");

test("the addon is written under the name of its content, once, for its owner alone", () => {
  const folder = join(tempDir(), "native");
  const file = extractAddon(folder, addon);
  expect(file).toMatch(/better_sqlite3-[0-9a-f]{64}\.node$/);
  expect(readFileSync(file).equals(addon)).toBe(true);
  expect([statSync(folder).mode & 0o777, statSync(file).mode & 0o777]).toEqual([0o700, 0o700]);
  const before = statSync(file).ino;
  expect(extractAddon(folder, addon)).toBe(file);
  expect(statSync(file).ino).toBe(before);
});

test("what is not the addon, under its name, is not loaded but replaced", () => {
  const folder = join(tempDir(), "native");
  const file = extractAddon(folder, addon);
  writeFileSync(file, "somebody else's code");
  expect(extractAddon(folder, addon)).toBe(file);
  expect(readFileSync(file).equals(addon)).toBe(true);
});

test("that of an earlier version goes, and a part that another process writes stays", () => {
  const folder = join(tempDir(), "native");
  mkdirSync(folder);
  const part = "better_sqlite3-00.node.1f6c";
  writeFileSync(join(folder, part), "");
  extractAddon(folder, Buffer.from("older"));
  const file = extractAddon(folder, addon);
  expect(readdirSync(folder).sort()).toEqual([part, file.slice(folder.length + 1)].sort());
});

import { expect, test } from "vitest";
import { limits } from "../../../../../shared/limits.ts";
import type { TreeEntry } from "../../../../../shared/merkle/tree-entry.ts";
import { evaluationInputs } from "../../../../../shared/pipeline/evaluation/evaluation-inputs.ts";
import { textBlob } from "../../../../support/blobs.ts";

async function inputsOf(files: Readonly<Record<string, string>>, file = "millrace.ts") {
  const entries = Object.entries(files).map(([path, text]): TreeEntry => {
    return { path, node: { kind: "file", digest: textBlob(text).digest, executable: false } };
  });
  const { entries: inputs, problems } = await evaluationInputs({ file, entries, read: async (path) => files[path] });
  const said = problems.map(({ file: at, line, column, message }) => `${at}:${line}:${column}: ${message}`);
  return { paths: inputs.map(({ path }) => path).toSorted(), said };
}

test("a program is evaluated with what it imports by relative paths, and what that imports", async () => {
  const { paths, said } = await inputsOf({
    "millrace.ts": `import { a } from "./lib/a.ts";
import data from './data.json' with { type: "json" };
import type { T } from "./types.ts";
export * from "./lib/b.mjs";
const late = await import( "./late.ts" );
const text = readFileSync(new URL("./text.txt", import.meta.url));
const require = createRequire(import.meta.url);
const old = require("./old.cjs");
import fs from "node:fs";
`,
    ...{ "old.cjs": 'require("./older.cjs")', "older.cjs": "" },
    ...{ "lib/a.ts": 'import "../shared/c.ts";', "lib/b.mjs": 'import "./nowhere.ts"', "data.json": 'from "./x.ts"' },
    ...{
      "types.ts": "",
      "late.ts": 'import "./millrace.ts"',
      "text.txt": "",
      "shared/c.ts": "",
      "x.ts": "",
      "src/y.ts": "",
    },
  });
  expect(paths).toEqual(
    [
      "data.json",
      "old.cjs",
      "older.cjs",
      "late.ts",
      "lib/a.ts",
      "lib/b.mjs",
      "millrace.ts",
      "shared/c.ts",
      "text.txt",
      "types.ts",
    ].toSorted(),
  );
  expect(said).toEqual([]);
});

test("`// @inputs` names more by globs, and a glob that finds nothing is told with its place", async () => {
  const files = {
    "packages/a/package.json": "",
    "packages/b/package.json": "",
    "packages/b/x.json": "",
    "top.json": "",
  };
  const line = "// @inputs packages/*/*.json !**/x.json  top.json\n";
  const { paths, said } = await inputsOf(
    { ...files, ".millrace/n.ts": `\n${line}export default 1;` },
    ".millrace/n.ts",
  );
  expect(paths).toEqual([".millrace/n.ts", "packages/a/package.json", "packages/b/package.json", "top.json"]);
  expect(said).toEqual([]);
  const wrong = await inputsOf({ "millrace.ts": "//\n// @inputs none/*.json ../out\n" });
  expect(wrong.said).toEqual([
    expect.stringMatching(/^millrace\.ts:2:24: the glob .*leaves/),
    'millrace.ts:2:12: "none/*.json" matches no file of the source',
  ]);
});

test("nothing leads out of the source, and what is no file is no input", async () => {
  const { paths } = await inputsOf({ "millrace.ts": 'import "../../etc/passwd"; import "./lib";', "lib/index.ts": "" });
  expect(paths).toEqual(["millrace.ts"]);
});

test("hostile texts are looked through in a moment, and too many imports are refused", async () => {
  const hostile = ["from".padEnd(400_000), `import ${"(".repeat(300_000)}`, `from "./${"a".repeat(500_000)}`];
  const started = performance.now();
  for (const text of hostile) expect((await inputsOf({ "millrace.ts": text })).paths).toEqual(["millrace.ts"]);
  const globs = await inputsOf({ "millrace.ts": "// @inputs a/*\n".repeat(60_000) });
  expect(globs.said.at(-1)).toContain(`there are more than ${limits.evaluationGlobs} globs`);
  expect(performance.now() - started).toBeLessThan(2_000);
  const count = limits.evaluationInputs + 1;
  const many = Object.fromEntries(Array.from({ length: count }, (_, n) => [`a/${n}.json`, ""]));
  const { said } = await inputsOf({ "millrace.ts": "// @inputs a/*.json\n", ...many });
  expect(said).toEqual([expect.stringContaining("it imports too much: at most 10000 files")]);
});

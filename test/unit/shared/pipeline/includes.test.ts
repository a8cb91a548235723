import { describe, expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { gatherIncludes } from "../../../../shared/pipeline/includes.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";

type Files = Readonly<Record<string, string>>;

/** As the coordinator does: first all that it includes, then the pipeline. */
async function parse(files: Files, file = "millrace.yaml") {
  const included = await gatherIncludes(files[file] ?? "", file, async (path) => files[path]);
  return parsePipeline(files[file] ?? "", file, { readFile: (path) => included.get(path) });
}

async function problemsOf(files: Files): Promise<string[]> {
  return (await parse(files)).problems.map(formatProblem);
}

const stages = "stages: { s: { tasks: { t: { run: x } } } }\n";

describe("included files", () => {
  it("are under what includes them: mappings are joined, all else is what the last one says", async () => {
    const { pipeline } = await parse({
      "millrace.yaml": `name: p
include: [ci/a.yaml, ci/b.yaml]
defaults: { env: { A: own } }
stages: { s: { tasks: { t: { template: make, inputs: [] } } } }
`,
      "ci/a.yaml":
        "defaults: { env: { A: a, B: a, C: a }, timeout: 1m }\ntemplates: { make: { run: make, inputs: [a] } }\n",
      "ci/b.yaml": "include: [ci/deep/c.yaml]\ndefaults: { env: { B: b } }\n",
      "ci/deep/c.yaml":
        "defaults: { env: { B: c, D: c }, timeout: 2m }\nstages: { last: { tasks: { u: { run: u } } } }\n",
    });
    const [t, u] = pipeline?.stages.flatMap(({ tasks }) => tasks) ?? [];
    expect(t ?? u).toBeDefined();
    const task = pipeline?.stages.find(({ name }) => name === "s")?.tasks[0];
    expect(task).toMatchObject({
      run: "make",
      inputs: [],
      timeoutMs: 120_000,
      env: { A: "own", B: "b", C: "a", D: "c" },
    });
    expect(pipeline?.stages.map(({ name }) => name).toSorted()).toEqual(["last", "s"]);
  });

  it("have their problems where they stand, after those of the pipeline's own file", async () => {
    const files = {
      "millrace.yaml": `name: P\ninclude: [ci/a.yaml]\n${stages}`,
      "ci/a.yaml":
        "defaults:\n  timout: 1m\nstages: { s: { needs: [x], tasks: { t: { use: [y] }, u: { run: '${{ params.z }}' } } } }\n",
    };
    expect((await problemsOf(files)).map((text) => text.split("\n")[0])).toEqual([
      'millrace.yaml:1:7: "name" is not a name: "P"',
      'ci/a.yaml:2:3: unknown key "timout" in defaults',
      'ci/a.yaml:3:24: there is no stage "x"',
      'ci/a.yaml:3:48: there is no artifact "y"',
      "ci/a.yaml:3:64: ${{ params.z }} speaks of params.z, which is not there",
    ]);
  });

  it("that are not there, not in the source, or include each other are problems", async () => {
    const include = (list: string, more: Files = {}) =>
      problemsOf({ "millrace.yaml": `name: p\ninclude: ${list}\n${stages}`, ...more });
    expect(await include("[ci/none.yaml]")).toEqual([
      "millrace.yaml:2:11: there is no file ci/none.yaml in the source\n  hint: paths are those of the source, from its top",
    ]);
    expect(await include("[../x.yaml, https://host/x.yaml]")).toHaveLength(2);
    expect(await include("x.yaml")).toEqual([expect.stringContaining('"include" must be a list, not text')]);
    expect(await include("[a.yaml]", { "a.yaml": "include: [b.yaml]\n", "b.yaml": "include: [a.yaml]\n" })).toEqual([
      "b.yaml:1:11: files include each other in a circle: a.yaml → b.yaml → a.yaml\n  hint: remove one of these",
    ]);
    expect(await include("[a.yaml]", { "a.yaml": "include: [millrace.yaml]\n" })).toEqual([
      expect.stringContaining("in a circle: millrace.yaml → a.yaml → millrace.yaml"),
    ]);
    expect(await include("[a.yaml]", { "a.yaml": "- x\n" })).toEqual([
      expect.stringContaining("a.yaml:1:1: a.yaml must be a mapping"),
    ]);
    expect(await include("[a.yaml]", { "a.yaml": "a: [\n" })).toEqual([expect.stringMatching(/^a\.yaml:/)]);
  });

  it("are bounded in number, size and depth", async () => {
    const names = (count: number) => Array.from({ length: count }, (_, index) => `f${index}.yaml`);
    const many = Object.fromEntries(names(limits.includedFiles + 1).map((name) => [name, "defaults: {}\n"]));
    const inTwo = {
      "a.yaml": `include: [${names(60).join()}]\n`,
      "b.yaml": `include: [${names(limits.includedFiles + 1)
        .slice(60)
        .join()}]\n`,
    };
    const files = { "millrace.yaml": `name: p\ninclude: [a.yaml, b.yaml]\n${stages}`, ...many, ...inTwo };
    expect((await problemsOf(files)).join("\n")).toMatch(/includes too much|there is no file/);

    const chain = Object.fromEntries(
      names(limits.includeDepth + 2).map((name, index) => [name, `include: [f${index + 1}.yaml]\n`]),
    );
    const twice = Object.fromEntries(
      names(limits.includeDepth - 2).map((name, index) => [
        name,
        `include: [f${index + 1}.yaml, f${index + 1}.yaml]\n`,
      ]),
    );
    const doubled = {
      "millrace.yaml": `name: p\ninclude: [f0.yaml]\n${stages}`,
      ...twice,
      "f18.yaml": "defaults: {}\n",
    };
    expect(await problemsOf(doubled)).toEqual([]);
    const deep = { "millrace.yaml": `name: p\ninclude: [f0.yaml]\n${stages}`, ...chain };
    expect((await problemsOf(deep)).join("\n")).toContain("files include each other");
  });
});

import fc from "fast-check";
import { expect, test } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { plainValue } from "../../../../shared/pipeline/located.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { choosePipelinePath, pipelinePathsOf } from "../../../../shared/pipeline/pipeline-path.ts";
import { readYaml } from "../../../../shared/pipeline/yaml-source.ts";

function problemsOf(pipeline: unknown, file = "millrace.ts"): string[] {
  return parsePipeline(JSON.stringify(pipeline, undefined, 1), file).problems.map(formatProblem);
}

test("what is wrong with what an evaluation gave is named by the keys that lead there", () => {
  const stages = {
    build: { tasks: { compile: { run: 5, needs: ["lint", "lnt"], timeot: "1m" }, lint: { run: "x" } } },
  };
  expect(problemsOf({ name: "shop", stages: { ...stages, test: { needs: ["bild"], tasks: {} } } })).toEqual([
    expect.stringContaining('millrace.ts: stages.build.tasks.compile.timeot: unknown key "timeot"'),
    expect.stringContaining('millrace.ts: stages.test.needs[0]: there is no stage "bild"'),
    expect.stringContaining('millrace.ts: stages.test: stage "test" has no tasks'),
    expect.stringContaining('millrace.ts: stages.build.tasks.compile.needs[1]: there is no task "lnt"'),
  ]);
  expect(problemsOf({ name: "p", stages: { a: { tasks: { "b c": { run: "\u001b" } } } } }).join("\n")).toContain(
    'millrace.ts: stages.a.tasks["b c"]: ',
  );
  expect(problemsOf({ name: "p", stages: { "a\u202e\u009b": { tasks: {} } } }).join("\n")).toContain(
    'millrace.ts: stages["a\\u{202e}\\u{9b}"]: ',
  );
  expect(problemsOf([])).toEqual([expect.stringContaining("millrace.ts: the pipeline: ")]);
  expect(problemsOf({ name: "p", stages: { a: { tasks: { b: { run: "${{ nothing }}" } } } } })).toEqual([
    expect.stringContaining("millrace.ts: stages.a.tasks.b.run: "),
  ]);
});

test("a hostile text is read in a moment, whatever is wrong with it", () => {
  const keys = Object.fromEntries(Array.from({ length: 50_000 }, (_, n) => [`k${n}`, 1]));
  const tasks = Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`t${n}`, { rnu: "x" }]));
  const started = process.cpuUsage();
  expect(problemsOf(keys)).toHaveLength(limits.pipelineProblems);
  expect(problemsOf({ name: "p", stages: { s: { tasks } } })).toHaveLength(limits.pipelineProblems);
  expect(process.cpuUsage(started).user / 1e6).toBeLessThan(20);
});

test("what an evaluation gave is the same pipeline as that in YAML", () => {
  const yaml = "name: p\nstages: { a: { tasks: { t: { run: echo, retry: 2, cache: false, env: { V: 1.5 } } } } }\n";
  const { file: _, ...written } = parsePipeline(yaml, "millrace.yaml").pipeline ?? {};
  const task = { run: "echo", retry: 2, cache: false, env: { V: 1.5 } };
  const json = JSON.stringify({ name: "p", stages: { a: { tasks: { t: task } } } });
  const { file: __, ...given } = parsePipeline(json, "millrace.ts").pipeline ?? {};
  const withoutPlaces = (value: unknown) =>
    JSON.parse(JSON.stringify(value, (key, one: unknown) => (key === "position" ? undefined : one))) as unknown;
  expect(withoutPlaces(given)).toEqual(withoutPlaces(written));
});

test("JSON is read as what it says, whatever its texts are", () => {
  const leaf = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.boolean(),
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );
  const key = fc.string({ unit: "binary" }).filter((text) => text !== "__proto__" && text !== "<<");
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 2 },
      leaf,
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(key, tie("value"), { maxKeys: 4 }),
    ),
  }));
  const asText = (one: unknown): unknown => {
    if (Array.isArray(one)) return one.map(asText);
    if (typeof one !== "object" || one === null) return typeof one === "string" ? one : JSON.stringify(one);
    return Object.fromEntries(Object.entries(one).map(([name, member]) => [name, asText(member)]));
  };
  fc.assert(
    fc.property(value, (one) => {
      const { top, problems } = readYaml(JSON.stringify({ one }, undefined, 1), "millrace.ts", "paths");
      expect(problems).toEqual([]);
      expect(top && plainValue(top)).toEqual({ one: asText(one) });
    }),
  );
});

test("a name means the file that is there, and two by one name are refused", () => {
  const choose = (given: string, ...there: string[]) => choosePipelinePath(given, (path) => there.includes(path));
  expect(choose("")).toBe("millrace.yaml");
  expect(choose("", "millrace.ts")).toBe("millrace.ts");
  expect(choose("nightly", ".millrace/nightly.ts", "millrace.yaml")).toBe(".millrace/nightly.ts");
  expect(choose("millrace.yaml", "millrace.yaml", "millrace.ts")).toBe("millrace.yaml");
  expect(pipelinePathsOf("ci/x.ts")).toEqual(["ci/x.ts"]);
  expect(() => choose("", "millrace.ts", "millrace.yaml")).toThrow("there are both millrace.yaml and millrace.ts");
  expect(() => choose("n", ".millrace/n.ts", ".millrace/n.yaml")).toThrow("both .millrace/n.yaml and .millrace/n.ts");
});

import fc from "fast-check";
import { expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";
import { parsed, tasksOf, withTask } from "../../../support/pipelines.ts";

/** JSON is YAML, so made-up values need no writer of their own. */
const text = (value: unknown) => JSON.stringify(value);

const sorted = (record: Readonly<Record<string, string>>) =>
  text(Object.entries(record).toSorted(([a], [b]) => (a < b ? -1 : 1)));

const word = fc.constantFrom("a", "b", "A", "1", "1.0", "1-0", "x y", "é", "*", "a".repeat(70));
const words = fc.uniqueArray(word, { minLength: 1, maxLength: 4 });

it("a matrix has a task for each combination but those excluded, and those included, each with its own name", () => {
  const dimensions = fc.dictionary(fc.constantFrom("os", "node", "db"), words, { minKeys: 1, maxKeys: 3 });
  const matrix = dimensions.chain((values) => {
    const names = Object.keys(values);
    const combination = fc.record(
      Object.fromEntries(names.map((name) => [name, fc.constantFrom(...(values[name] ?? []))])),
    );
    const partial = fc.record(
      Object.fromEntries(names.map((name) => [name, fc.constantFrom(...(values[name] ?? []))])),
      {
        requiredKeys: [],
      },
    );
    const lists = { include: fc.array(combination, { maxLength: 2 }), exclude: fc.array(partial, { maxLength: 2 }) };
    return fc.record({ values: fc.constant(values), ...lists });
  });
  fc.assert(
    fc.property(matrix, fc.integer({ min: 1, max: 3 }), ({ values, include, exclude }, shards) => {
      const excluded = exclude.filter((one) => Object.keys(one).length > 0);
      const all = Object.entries(values).reduce<Record<string, string>[]>(
        (before, [name, list]) => before.flatMap((one) => list.map((value) => ({ ...one, [name]: value }))),
        [{}],
      );
      const kept = all.filter(
        (one) => !excluded.some((out) => Object.entries(out).every(([key, value]) => one[key] === value)),
      );
      const expected = new Set([...kept, ...include].map((one) => sorted(one)));
      fc.pre(expected.size > 0);
      const task = {
        run: "x",
        shards: String(shards),
        matrix: { ...values, include, exclude },
        outputs: { "o-${{ variant }}": "out" },
      };
      const tasks = tasksOf(parsed(withTask(text(task))));
      expect(tasks).toHaveLength(expected.size * shards);
      expect(new Set(tasks.map(({ name }) => name)).size).toBe(tasks.length);
      const found = tasks.map(({ variant: { shard: _shard, ...rest } }) => sorted(rest));
      expect(new Set(found)).toEqual(expected);
    }),
  );
});

it("what is written out says the same as what somebody wrote out by hand", () => {
  fc.assert(
    fc.property(
      words,
      fc.dictionary(fc.constantFrom("A", "B", "C"), word),
      fc.dictionary(fc.constantFrom("B", "C", "D"), word),
      (values, under, over) => {
        const quoted = values.map((value, index) => [`t${index}`, value] as const);
        const short = quoted.map(
          ([name, value]) => `${name}: { template: base, with: { v: ${text(value)} }, env: ${text(over)} }`,
        );
        const long = quoted.map(
          ([name, value]) => `${name}: { run: x, timeout: 1m, env: ${text({ ...under, V: value, ...over })} }`,
        );
        const base = { params: { v: {} }, run: "x", timeout: "1m", env: { ...under, V: "${{ with.v }}" } };
        const file = (tasks: string[], top: string) =>
          `name: p\n${top}stages: { s: { tasks: { ${tasks.join(", ")} } } }\n`;
        const bare = (source: string) =>
          planRun({ pipeline: parsed(source), source: [], offers: [], stages: [], tasks: [] }).tasks;
        expect(bare(file(short, `templates: { base: ${text(base)} }\n`))).toEqual(bare(file(long, "")));
      },
    ),
  );
});

const keys = [
  ...[
    "name",
    "stages",
    "tasks",
    "s",
    "t",
    "run",
    "needs",
    "use",
    "outputs",
    "env",
    "inputs",
    "when",
    "changes",
    "matrix",
  ],
  ...[
    "include",
    "exclude",
    "shards",
    "template",
    "templates",
    "with",
    "params",
    "default",
    "options",
    "type",
    "finally",
  ],
  ...["services", "ready", "manual", "deploy", "defaults", "on", "concurrency", "priority", "constructor", "toString"],
];
const scalar = fc.constantFrom(
  ...[
    "",
    "a",
    "t",
    "s",
    "1",
    "true",
    "x-*",
    "${{ params.a }}",
    "${{ matrix.a }}",
    "${{ [1, 2] }}",
    "${{",
    "$${{ }}",
    "${{ {} }}",
  ],
  ...["run.failed", "branch == 'main'", "changed('a')", "1 +", "${{ variant }}-${{ shard.index }}"],
);

it("whatever a file holds is a pipeline or has problems, at places that are in it", () => {
  const { value } = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 7, depthIdentifier: "pipeline" },
      scalar,
      fc.dictionary(fc.constantFrom(...keys), tie("value"), { maxKeys: 5, depthIdentifier: "pipeline" }),
      fc.array(tie("value"), { maxLength: 3, depthIdentifier: "pipeline" }),
    ),
  }));
  const task = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 6 });
  const stage = fc.record(
    { tasks: fc.dictionary(fc.constantFrom("t", "a"), task), needs: value, finally: value },
    { requiredKeys: ["tasks"] },
  );
  const file = fc.record(
    {
      name: fc.constant("p"),
      stages: fc.dictionary(fc.constantFrom("s", "a"), stage),
      params: value,
      templates: value,
      finally: value,
      defaults: value,
    },
    { requiredKeys: ["name", "stages"] },
  );
  fc.assert(
    fc.property(file, (content) => {
      const source = JSON.stringify(content, null, 1);
      const lines = source.split("\n");
      const { pipeline, problems } = parsePipeline(source, "p.yaml");
      expect(pipeline === undefined).toBe(problems.length > 0);
      expect(problems.length).toBeLessThanOrEqual(limits.pipelineProblems);
      for (const { line, column, message } of problems) {
        expect(message).not.toBe("");
        expect(column).toBeLessThanOrEqual((lines[line - 1]?.length ?? 0) + 1);
      }
    }),
  );
});

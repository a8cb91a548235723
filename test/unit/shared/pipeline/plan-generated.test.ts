import fc from "fast-check";
import { expect, test } from "vitest";
import type { PlannedTask } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import type { TreeEntry } from "../../../../shared/merkle/tree-entry.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";
import { noRun } from "../../../../shared/pipeline/plan-context.ts";
import { type GeneratedPlan, planGenerated } from "../../../../shared/pipeline/plan-generated.ts";

const text = `
name: p
params: { level: { type: choice, options: [quick, full], default: quick } }
defaults: { timeout: 7m }
stages:
  build: { tasks: { compile: { run: make, outputs: { app: dist } } } }
  verify:
    needs: [build]
    tasks:
      discover: { run: ./discover.sh, generates: true, outputs: { list: list.txt } }
      lint: { run: ./lint.sh, matrix: { tool: [a, b] } }
  ship: { needs: [verify], tasks: { pack: { run: pack } } }
finally: { tasks: { clean: { run: ./clean.sh } } }
`;
const source: TreeEntry[] = ["src/a.js", "src/b.js"].map((path) => ({
  path,
  node: { kind: "file", digest: digestOf(Buffer.from(path)), executable: false },
}));
const context = { ...noRun, isSample: false, params: { level: "full" } };

function present(): readonly PlannedTask[] {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml", { context });
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  return planRun({ pipeline, source, offers: [], stages: [], tasks: [] }).tasks;
}

const planned = present();
const writer = planned.find(({ name }) => name === "discover") as PlannedTask;

function generate(
  written: string,
  { level = 1, by = writer, before = [] as readonly PlannedTask[], all = planned } = {},
) {
  const pipeline = { text, file: "millrace.yaml" };
  const others = [...all, ...before];
  return planGenerated({ text: written, by, level, present: others, before, pipeline, context, source, offers: [] });
}

const problemsOf = ({ problems }: GeneratedPlan) => problems.map(formatProblem);
const named = ({ tasks }: GeneratedPlan) => tasks.map(({ stage, name }) => `${stage}/${name}`);

test("what was written is planned as if it stood in the stage: defaults, needs, artifacts, matrices and parameters", () => {
  const plan = generate(`
tasks:
  unit: { run: "test \${{ matrix.dir }} \${{ params.level }}", matrix: { dir: [x, y] }, use: [app], inputs: ["src/**"] }
  all: { run: ./report.sh, needs: [unit, lint], outputs: { report: r.html } }
`);
  expect(problemsOf(plan)).toEqual([]);
  expect(named(plan)).toEqual(["verify/unit-x", "verify/unit-y", "verify/all"]);
  const [unit, , all] = plan.tasks;
  expect(unit?.timeout?.seconds).toBe(420n);
  expect(unit?.uses.map(({ task }) => task)).toEqual(["build/compile"]);
  expect(unit?.needs).toEqual(["build/compile", "verify/discover"]);
  expect([...(all?.needs ?? [])].sort()).toEqual(
    ["build/compile", "verify/discover", "verify/lint-a", "verify/lint-b", "verify/unit-x", "verify/unit-y"].sort(),
  );
  expect(plan.blobs.length).toBeGreaterThan(2);
});

test("an empty file is no tasks, and what others wrote before can be needed and used", () => {
  expect(generate(" \n")).toEqual({ tasks: [], blobs: [], problems: [] });
  const first = generate("tasks: { pack: { run: pack, outputs: { bundle: b } } }");
  const second = generate("tasks: { check: { run: check, use: [bundle], needs: [pack] } }", { before: first.tasks });
  expect(problemsOf(second)).toEqual([]);
  expect(second.tasks[0]?.uses).toMatchObject([{ task: "verify/pack", artifact: "bundle" }]);
});

const file = ".millrace-generated.yaml of verify/discover";

test("every problem comes at once, and names the file and the task that wrote it", () => {
  const written =
    "tasks:\n  a: { run: x, neds: [b] }\n  b: { run: x, needs: [nobody], use: [nothing] }\n  lint: { run: x }\nmore: {}\n";
  const problems = problemsOf(generate(written));
  expect(problems).toEqual([
    expect.stringContaining(`${file}:5:1: unknown key "more"`),
    expect.stringContaining(`${file}:4:3: stage "verify" has a task "lint" already`),
    expect.stringContaining(`${file}:2:16: unknown key "neds"`),
    expect.stringContaining(`${file}:3:24: there is no task "nobody"`),
    expect.stringContaining(`${file}:3:39: there is no artifact "nothing"`),
  ]);
  expect(problemsOf(generate("tasks: ["))).toEqual([expect.stringContaining(`${file}:1:`)]);
  expect(problemsOf(generate("tasks: {}"))).toEqual([expect.stringContaining("there are no tasks")]);
  expect(problemsOf(generate('tasks: { a: { run: x, inputs: ["nowhere/**"] } }'))).toEqual([
    expect.stringContaining(`${file}:1:32: "nowhere/**" matches no file`),
  ]);
});

test("what does not fit into the run is refused: a name that is taken, a need that is not there, a level too deep", () => {
  expect(problemsOf(generate("tasks: { lint-a: { run: x } }"))).toEqual([
    expect.stringContaining("the run has a task verify/lint-a already"),
  ]);
  const few = planned.filter(({ name }) => !name.startsWith("lint"));
  expect(problemsOf(generate("tasks: { a: { run: x, needs: [lint] } }", { all: few }))).toEqual([
    expect.stringContaining("it needs verify/lint-a, which is not part of this run"),
    expect.stringContaining("it needs verify/lint-b, which is not part of this run"),
  ]);
  const deeper = "tasks: { a: { run: x, generates: true } }";
  expect(problemsOf(generate(deeper, { level: limits.generatedLevels - 1 }))).toEqual([]);
  expect(problemsOf(generate(deeper, { level: limits.generatedLevels }))).toEqual([
    expect.stringContaining(`at most ${limits.generatedLevels} are possible`),
  ]);
});

test("whatever was written, there are tasks or problems, soon", () => {
  const line = fc.constantFrom(
    ...[
      "tasks:",
      "  a:",
      "    run: x",
      "    needs: [a]",
      "    use: [app]",
      "    matrix: { a: [1, 2] }",
      "  b: { run: y }",
    ],
    ...[
      "  - x",
      "&a *a",
      "    generates: true",
      "    outputs: { app: x }",
      "{",
      "? [",
      "  lint: *b",
      "    concurrency: g",
      "\t",
    ],
  );
  const texts = fc.oneof(
    fc.string(),
    fc.array(line, { maxLength: 12 }).map((lines) => lines.join("\n")),
  );
  fc.assert(
    fc.property(texts, (written) => {
      const plan = generate(written);
      if (plan.problems.length > 0) expect(plan.tasks).toEqual([]);
      for (const task of plan.tasks)
        expect(task).toMatchObject({ stage: "verify", needs: expect.arrayContaining(["verify/discover"]) });
    }),
  );
});

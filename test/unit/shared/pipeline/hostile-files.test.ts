import { describe, expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import type { Pipeline, Problem } from "../../../../shared/pipeline/pipeline.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";
import { runCondition } from "../../../../shared/pipeline/run-condition.ts";

// Anybody who can change a source writes what the coordinator reads: small files that ask for a great deal.

function problemsIn(text: string): readonly Problem[] {
  return parsePipeline(text, "millrace.yaml").problems;
}

function messagesIn(text: string): string[] {
  return problemsIn(text).map(formatProblem);
}

function parsed(text: string): Pipeline {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml");
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  return pipeline;
}

const times = (count: number, text: (index: number) => string) =>
  Array.from({ length: count }, (_, index) => text(index)).join("");
const list = (count: number) => `[${times(count, (index) => `${index},`)}]`;
const oneStage = (tasks: string, top = "") => `name: x\n${top}stages:\n  s:\n    tasks:\n${tasks}`;

describe("a hostile pipeline file", () => {
  function quickly(text: string): string[] {
    // Nothing superlinear: such files took minutes before they were bounded, longer than a test may.
    const problems = messagesIn(text);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.length).toBeLessThanOrEqual(limits.pipelineProblems);
    return problems;
  }

  it("is refused when it is too large", () => {
    expect(quickly("#".repeat(limits.pipelineFileBytes + 1))[0]).toContain("larger than");
  });

  it("cannot expand aliases without end", () => {
    const levels = Array.from({ length: 30 }, (_, n) => `l${n + 1}: &l${n + 1} [${Array(9).fill(`*l${n}`).join(",")}]`);
    expect(quickly(`l0: &l0 [x]\n${levels.join("\n")}\n`).join("\n")).toContain("counting what aliases stand for");
  });

  it("cannot refer to itself", () => {
    expect(quickly("name: &a [*a]\n").join("\n")).toContain("there is no anchor &a before this alias");
  });

  it.each([
    ["brackets", "[".repeat(500_000)],
    ["indented keys", Array.from({ length: 1_400 }, (_, depth) => `${" ".repeat(depth)}a:`).join("\n")],
    ["moderate brackets", `name: ${"[".repeat(100)}${"]".repeat(100)}`],
  ])("cannot nest without end: %s", (_, text) => {
    expect(quickly(text).join("\n")).toContain("nested");
  });

  it("may have any number of keys, names and mistakes", () => {
    quickly(`{${Array.from({ length: 30_000 }, (_, n) => `k${n}: 1`).join(",")}}`);
    quickly(`name: a\nstages: { s: { tasks: { t: { run: x, needs: [${"nope,".repeat(50_000)}] } } } }`);
    quickly(`name: a\nstages: { s: { tasks: { t: { run: x, use: [${"nope,".repeat(50_000)}] } } } }`);
    quickly(
      `name: a\nstages:\n${Array.from({ length: 10_000 }, (_, n) => ` s${n}: { needs: [s${n + 1}] }`).join("\n")}`,
    );
  });

  it("may weave its needs densely", () => {
    const names = Array.from({ length: 150 }, (_, n) => `s${n}`);
    const stages = names.map((name) => `  ${name}: { needs: [${names.join(",")}], tasks: { t: { run: x } } }`);
    expect(quickly(`name: a\nstages:\n${stages.join("\n")}\n`)[0]).toContain("in a circle");
  });
});

describe("a file whose tasks would be written out to more than may be", () => {
  const cases: readonly [what: string, text: string, message: string][] = [
    [
      "tasks that all build on a large template",
      oneStage(
        times(1_000, (index) => `      t${index}: { template: m, env: { B: c } }\n`),
        `templates: { m: { run: e, env: { ${times(3_000, (index) => `A${index}: x,`)} } } }\n`,
      ),
      `more than ${limits.pipelineExpandedValues} values`,
    ],
    [
      "many tasks with a large matrix each",
      oneStage(
        times(100, (index) => `      t${index}: { template: m }\n`),
        `templates: { m: { run: e, matrix: { a: ${list(500)}, b: ${list(40)} } } }\n`,
      ),
      `more than ${limits.runTasks} tasks`,
    ],
    [
      "a long text in every combination of a matrix",
      oneStage(
        `      t: { run: e, matrix: { a: ${list(1_000)}, b: ${list(20)} }, env: { A: "\${{ matrix.a }}${"x".repeat(120_000)}" } }\n`,
      ),
      `more than ${limits.pipelineExpandedChars} characters`,
    ],
    [
      "a long script in every shard",
      oneStage(`      t: { run: "e ${"x".repeat(300_000)}", shards: 20000 }\n`),
      `more than ${limits.pipelineExpandedChars} characters`,
    ],
    [
      "a text of many expressions in every combination",
      oneStage(
        `      t: { run: e, matrix: { a: ${list(1_000)} }, env: { A: "${"${{ matrix.a }}".repeat(1_000)}" } }\n`,
      ),
      "the expressions of this pipeline take too long together",
    ],
    [
      "a `finally` of many tasks after many tasks",
      `${oneStage(times(2_000, (index) => `      t${index}: { run: e }\n`))}    finally:\n      tasks:\n${times(
        2_000,
        (index) => `        f${index}: { run: e }\n`,
      )}`,
      `more than ${limits.runNeeds} needs`,
    ],
    [
      "shards that need all shards of another task",
      oneStage("      a: { run: e, shards: 2000 }\n      b: { run: e, shards: 2000, needs: [a] }\n"),
      `more than ${limits.runNeeds} needs`,
    ],
    [
      "shards that use what all shards of another task make",
      oneStage(
        `      a: { run: e, shards: 2000, outputs: { "o-\${{ variant }}": o } }\n      b: { run: e, shards: 2000, use: ["o-*"] }\n`,
      ),
      `more than ${limits.runNeeds} needs`,
    ],
  ];

  it.each(cases)("is refused at once: %s", (_, text, message) => {
    expect(text.length).toBeLessThan(limits.pipelineFileBytes);
    const problems = messagesIn(text);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(message);
    expect(problems[0]).toMatch(/^millrace\.yaml:\d+:\d+: .*\n {2}hint: /);
  });

  it("is refused when it is planned, where the defaults are what is long", () => {
    const pipeline = parsed(
      `name: x\ndefaults: { env: { A: "${"x".repeat(120_000)}" } }\nstages: { s: { tasks: { a: { run: e, shards: 5000 } } } }\n`,
    );
    const { tasks, blobs, problems } = planRun({ pipeline, source: [], offers: [], stages: [], tasks: [] });
    expect([tasks, blobs]).toEqual([[], []]);
    expect(problems.map(formatProblem)).toEqual([expect.stringContaining("scripts and variables")]);
  });

  it("is refused where a process could not be given what it says", () => {
    const long = "x".repeat(limits.processTextBytes + 1);
    const task = `      t: { run: "${long}", env: { A: "${long}" } }\n`;
    const all = messagesIn(oneStage(task)).join("\n");
    expect(all).toMatch(/:5:17: "run" has more than 128000 bytes.*\n {2}hint: put it into a file/);
    expect(all).toMatch(/"A" has more than 128000 bytes/);
    const many = `A: &a "${long.slice(1)}",${times(8, (index) => `A${index}: *a,`)}`;
    const pipeline = parsed(oneStage(`      t: { run: e, env: { ${many} } }\n`));
    const { problems } = planRun({ pipeline, source: [], offers: [], stages: [], tasks: [] });
    expect(problems.map(formatProblem)).toEqual([
      expect.stringMatching(/:5:7: the script and variables of s\/t are larger/),
    ]);
  });

  it("excludes many combinations from a large matrix without comparing each with each", () => {
    const excluded = times(5_000, (index) => `{ a: "${index}", b: "1" },`);
    const { stages } = parsed(
      oneStage(`      t: { run: e, matrix: { a: ${list(1_000)}, b: ${list(20)}, exclude: [${excluded}] } }\n`),
    );
    expect(stages[0]?.tasks).toHaveLength(19_000);
  });
});

describe("names that refer to each other", () => {
  it("are refused where stages need each other too often", () => {
    const stage = (index: number) =>
      `  s${index}: { needs: [${times(Math.min(index, 300), (back) => `s${index - back - 1},`)}], tasks: { a: { run: e } } }\n`;
    expect(messagesIn(`name: x\nstages:\n${times(500, stage)}`)).toEqual([
      expect.stringContaining(`at most ${limits.runStageNeeds} are possible`),
    ]);
  });

  it("are shown in part where their circle is long", () => {
    const [problem, ...others] = messagesIn(
      oneStage(times(2_000, (index) => `      t${index}: { run: e, needs: [t${(index + 1) % 2_000}] }\n`)),
    );
    expect(others).toEqual([]);
    expect(problem).toContain("t0 → t1 → t2 → t3 → t4 → … (1994 more) → t1999 → t0");
  });

  it("get no suggestion where they are longer than any name", () => {
    const long = "a".repeat(1_000);
    const needs = times(90, (index) => `${long}y${index},`);
    const problems = problemsIn(
      oneStage(
        `${times(90, (index) => `      ${long}${index}: { run: e }\n`)}      t: { run: e, needs: [${needs}] }\n`,
      ),
    );
    expect(problems).toHaveLength(limits.pipelineProblems);
    for (const { message, hint = "" } of problems) expect(message.length + hint.length).toBeLessThan(1_100);
  });

  it("are looked for among what the file says, and not among what JavaScript has", () => {
    const said = messagesIn(
      oneStage('      a: { run: "${{ constructor }} ${{ toString }}", needs: [valueOf] }\n'),
    ).join("\n");
    expect(said).toContain('speaks of "constructor", which is not known here');
    expect(said).toContain('speaks of "toString", which is not known here');
    expect(said).toContain('there is no task "valueOf"');
    const cache = oneStage(
      "      a: { run: e, outputs: { app: dist } }\n",
      "defaults: { caches: { constructor: dist } }\n",
    );
    expect(messagesIn(cache).join("\n")).toContain('cache "constructor" is at dist');
  });
});

describe("what is said of a hostile file", () => {
  it("is no longer than a person reads, whatever the file says", () => {
    const [problem] = problemsIn(`name: ${"a".repeat(500_000)}\nstages: { s: { tasks: { a: { run: e } } } }\n`);
    expect(problem?.message.length).toBeLessThan(600);
    expect(problem?.message).toMatch(/^"name" is not a name: "aaa.*…$/);
  });

  it("shows characters that cannot be seen, and none that could do something to a terminal", () => {
    const text = oneStage('      a: { run: e, needs: ["\\e[2J", "b\\u200b", "\\u202eb"] }\n');
    const all = messagesIn(text).join("\n");
    expect(all).toContain('there is no task "\\u{1b}[2J"');
    expect(all).toContain('there is no task "b\\u{200b}"');
    expect(all).toContain('there is no task "\\u{202e}b"');
  });

  it("tells a letter of another alphabet from the one that it looks like", () => {
    expect(messagesIn("n\u0430me: x\nname: x\nstages: { s: { tasks: { a: { run: e } } } }\n")).toEqual([
      'millrace.yaml:1:1: unknown key "n\u0430me" in the pipeline\n  hint: did you mean "name"? "\u0430" is U+0430 and no letter of it',
    ]);
  });

  it.each([
    ["[".repeat(100_000)],
    ["{a: ".repeat(50_000)],
    [`\n ${"- ".repeat(100_000)}x`],
    [`\n ${"? ".repeat(100_000)}x`],
    [`\n${times(500, (depth) => `${" ".repeat(depth + 1)}a:\n`)}`],
  ])("is that it is nested too deeply, and nothing of the library's own: %#", (nested) => {
    const problems = messagesIn(`name: x\nstages: ${nested}`);
    expect(problems).toEqual([
      expect.stringMatching(/^millrace\.yaml:\d+:\d+: this is nested more than 32 levels deep$/),
    ]);
  });

  it("is what to do about it where YAML itself is wrong", () => {
    expect(messagesIn("name: x\n---\nname: y\n")).toEqual([
      expect.stringMatching(/:2:1: the file holds several documents\n {2}hint: keep one/),
    ]);
    expect(messagesIn("name: x\nstages:\n\ts: {}\n")[0]).toMatch(
      /tabs are not allowed as indentation\n {2}hint: .*spaces/,
    );
    expect(messagesIn('name: "x\n')[0]).toMatch(/a text in " has no " at its end\n {2}hint: /);
    expect(messagesIn("name: [x]]\n")[0]).toMatch(/unexpected "]"\n {2}hint: /);
    expect(messagesIn("name: @x\n")[0]).toMatch(/\n {2}hint: put it into quotes/);
    expect(messagesIn("name: !foo x\nstages: {}\n")[0]).toMatch(/tags are not supported\n {2}hint: /);
  });

  it("is no circle where files, or templates, only go too deep", () => {
    const chain = times(30, (index) => `a${index}: { template: a${index + 1} },`);
    const text = oneStage("      a: { template: a0 }\n", `templates: { ${chain} a30: { run: e } }\n`);
    expect(messagesIn(text).join("\n")).toContain(`more than ${limits.includeDepth} templates build on each other`);
    const readFile = (path: string) => `include: [a${Number(path.slice(1)) + 1}]\n`;
    const { problems } = parsePipeline("name: x\ninclude: [a0]\nstages: {}\n", "millrace.yaml", { readFile });
    expect(problems.map(formatProblem).join("\n")).toContain(
      `more than ${limits.includeDepth} files include each other`,
    );
  });
});

describe("a parameter", () => {
  it("whose name is no identifier is refused, also where expressions are wrong", () => {
    const text = `name: x\nparams: { "a(": { type: string } }\nstages: { s: { tasks: { a: { run: "\${{ foo }}" } } } }\n`;
    const all = messagesIn(text).join("\n");
    expect(all).toContain("is not a name that expressions can read");
    expect(all).toContain('speaks of "foo"');
  });
});

describe("a condition of the end of a run", () => {
  const withParam = (value: string, when: string) =>
    `name: x\nparams: { p: { default: "${value}" } }\nstages: { s: { tasks: { a: { run: e } } } }\nfinally: { when: "${when}", tasks: { f: { run: e, when: "${when}" } } }\n`;
  const whenOf = (text: string) => parsed(text).stages.at(-1)?.tasks[0]?.when ?? "";

  it("is asked as it was planned, although what it speaks of makes it long", () => {
    const long = withParam("x".repeat(3_000), "run.failed || params.p == 'x'");
    expect(runCondition(whenOf(long), { failed: true, cancelled: false })).toBe(true);
    expect(runCondition(whenOf(long), { failed: false, cancelled: false })).toBe(false);
    const twice = `run.failed || ${"true && ".repeat(100)}false`;
    expect(runCondition(whenOf(withParam("x", twice)), { failed: true, cancelled: false })).toBe(true);
  });

  it("is refused where a text that it speaks of cannot be written into it", () => {
    const problems = messagesIn(withParam("\\ud800", "run.failed || params.p == 'x'"));
    expect(problems.join("\n")).toContain('"when"');
  });
});

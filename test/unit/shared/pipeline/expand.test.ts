import { describe, expect, it } from "vitest";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { parsed, planned, problemsOf, tasksOf, withTask } from "../../../support/pipelines.ts";

describe("parameters", () => {
  const text = `
name: shop
params:
  level: { type: choice, options: [quick, full], default: quick, title: How much is tested }
  jobs: { type: number, default: 4 }
  deep: { type: boolean, default: false }
  suffix: ""
stages:
  s:
    tasks:
      t:
        run: "make -j\${{ params.jobs }} \${{ params.level }}\${{ params.deep ? '-deep' : '' }}"
        env: { TWICE: "\${{ params.jobs * 2 }}", TEXT: "a $\${{ b }} \${{ '}}' }} c" }
`;

  it("have their default, or what is given", () => {
    expect(tasksOf(parsed(text))[0]).toMatchObject({
      run: "make -j4 quick",
      env: { TWICE: "8", TEXT: "a ${{ b }} }} c" },
    });
    const given = parsed(text, { params: { level: "full", jobs: "16", deep: "true" } });
    expect(tasksOf(given)[0]).toMatchObject({ run: "make -j16 full-deep", env: { TWICE: "32" } });
    expect(given.params).toEqual({ level: "full", jobs: "16", deep: "true", suffix: "" });
  });

  it("that do not exist or are of another type are problems, all at once", () => {
    expect(problemsOf(text, { params: { lvel: "full", jobs: "many", deep: "yes", level: "fast" } })).toEqual([
      'millrace.yaml:3:1: there is no parameter "lvel"\n  hint: did you mean "level"?',
      'millrace.yaml:3:1: parameter "level" must be one of quick, full, not "fast"',
      'millrace.yaml:3:1: parameter "jobs" must be a number, not "many"',
      'millrace.yaml:3:1: parameter "deep" must be true or false, not "yes"',
    ]);
  });

  it("without a default need a value where there is a run, and none where the file is looked at", () => {
    const needed = withTask("{ run: 'deploy ${{ params.where }}' }", "params: { where: { options: [here, there] } }\n");
    expect(problemsOf(needed)).toEqual([
      'millrace.yaml:2:1: parameter "where" has no value\n  hint: give it one with --param where=…, or a default',
    ]);
    expect(parsePipeline(needed, "millrace.yaml").problems).toEqual([]);
  });

  it("without a value, where the file is looked at, are named by what depends on them", () => {
    const text = withTask(
      "{ run: x, timeout: '${{ params.time }}', priority: '${{ 10 / params.n }}', env: { A: '${{ params.time }}' } }",
      "params: { time: { title: How long }, n: { type: number } }\n",
    );
    const hint = (name: string) =>
      `it depends on parameter "${name}", which has no value here: give it one with --param ${name}=…`;
    expect(parsePipeline(text, "millrace.yaml").problems.map((problem) => problem.hint)).toEqual([
      hint("time"),
      hint("n"),
    ]);
    const given = { time: "5m", n: "2" };
    expect(tasksOf(parsed(text, { params: given }))[0]).toMatchObject({ timeoutMs: 300_000, priority: 5 });
  });

  it("reach no shell with characters that it reads, wherever they come from", () => {
    const hostile = { params: { who: "$(reboot)" }, branch: "`reboot`" };
    const top = "params: { who: nobody }\n";
    for (const task of [
      "{ run: 'echo ${{ params.who }}' }",
      "{ run: 'echo ${{ branch }}' }",
      "{ run: 'echo ${{ matrix.who }}', matrix: { who: ['${{ params.who }}'] } }",
      "{ template: greet, with: { who: '${{ params.who }}' } }",
      "{ run: x, services: { db: { run: 'start ${{ params.who }}' } } }",
    ]) {
      const templates = "templates: { greet: { params: { who: {} }, run: 'echo ${{ with.who }}' } }\n";
      expect(problemsOf(withTask(task, top + templates), hostile), task).toEqual([
        expect.stringMatching(/the value of \$\{\{ .*\}\} has characters that a shell gives a meaning/),
      ]);
    }
    const handed = withTask("{ run: 'echo \"$WHO\"', env: { WHO: '${{ params.who }}' } }", top);
    expect(tasksOf(parsed(handed, hostile))[0]?.env).toEqual({ WHO: "$(reboot)" });
  });
});

describe("expressions", () => {
  it.each([
    ["{ run: '${{ params.x }}' }", "millrace.yaml:5:17: ${{ params.x }} speaks of params.x, which is not there"],
    ["{ run: '${{ matrix.x }}' }", "only a task with a `matrix` has it"],
    ["{ run: '${{ run.failed }}' }", "below `finally`"],
    ["{ run: '${{ 1 + }}' }", "${{ 1 + }} is not an expression: unexpected"],
    ["{ run: '${{ branch' }", 'a "${{" has no "}}"'],
    ["{ run: '${{ {} }}' }", "${{ {} }} is neither text nor a number nor true or false"],
    ["{ run: x, when: '${{ branch }}' }", '"when" is an expression as a whole'],
    ["{ run: x, when: branch }", '"when" is neither true nor false'],
    ["{ run: x, when: run.failed }", '"when" speaks of "run"'],
    ["{ run: x, when: '' }", '"when" is an empty expression'],
    ["{ run: x, changes: ['[a'] }", 'an item of "changes" has a [ without its ]'],
  ])("in %s say what is wrong", (task, message) => {
    expect(problemsOf(withTask(task)).join("\n")).toContain(message);
  });

  it("without quotes in braces are said to need them, once", () => {
    const problems = problemsOf(withTask("{ run: make ${{ branch }}, inputs: [] }\n      u: { run: x }"));
    expect(problems).toEqual([expect.stringMatching(/^millrace.yaml:5:.*\n {2}hint: put a value with .* into quotes/)]);
  });

  it("stand in names of artifacts, tools, labels and groups, too", () => {
    const task = tasksOf(
      parsed(
        withTask(
          '{ run: x, outputs: { "app-${{ branch }}": "out/${{ branch }}" }, agents: { os: "${{ 1 == 1 ? \'linux\' : \'mac\' }}" }, concurrency: "db/${{ branch }}", needs: "${{ [] }}" }',
        ),
      ),
    )[0];
    expect(task).toMatchObject({
      outputs: [{ artifact: "app-main", path: "out/main" }],
      agents: { os: "linux" },
      concurrency: { group: "db/main" },
      needs: [],
    });
  });
});

describe("a matrix", () => {
  const text = `
name: p
stages:
  verify:
    tasks:
      lint: { run: x }
      unit:
        run: test \${{ matrix.node }} \${{ matrix.os }}
        needs: [lint]
        matrix:
          node: [22, 24]
          os: [linux, macOS]
          exclude: [{ node: 22, os: macOS }]
          include: [{ node: 26-pre, os: linux }]
        when: matrix.node != '24' || matrix.os != 'linux'
        agents: { os: "\${{ matrix.os }}" }
        outputs: { "report-\${{ variant }}": report.xml }
      merge: { run: x, needs: [unit], use: ["report-*"] }
      one: { run: x, needs: ["unit-22-linux"] }
`;

  it("gives a task for each combination, named by its values", () => {
    const tasks = tasksOf(parsed(text)).filter(({ madeFrom }) => madeFrom !== undefined);
    expect(tasks.map(({ name, run, agents, variant, madeFrom }) => [name, run, agents, variant, madeFrom])).toEqual([
      ["unit-22-linux", "test 22 linux", { os: "linux" }, { node: "22", os: "linux" }, "verify/unit"],
      ["unit-24-linux", "test 24 linux", { os: "linux" }, { node: "24", os: "linux" }, "verify/unit"],
      ["unit-24-macos", "test 24 macOS", { os: "macOS" }, { node: "24", os: "macOS" }, "verify/unit"],
      ["unit-26-pre-linux", "test 26-pre linux", { os: "linux" }, { node: "26-pre", os: "linux" }, "verify/unit"],
    ]);
    expect(tasks.map(({ conditionUnmet }) => conditionUnmet !== undefined)).toEqual([false, true, false, false]);
    expect(tasks[0]?.position).toEqual({ line: 7, column: 7 });
  });

  it("is meant as a whole by who needs the task, and in part by who names one", () => {
    const plan = new Map(planned(text).map((task) => [task.name, task]));
    const units = ["unit-22-linux", "unit-24-linux", "unit-24-macos", "unit-26-pre-linux"];
    expect(plan.get("merge")?.needs).toEqual(units.map((name) => `verify/${name}`));
    expect(plan.get("merge")?.uses.map(({ artifact }) => artifact)).toEqual(
      units.map((name) => name.replace("unit", "report")),
    );
    expect(plan.get("one")?.needs).toEqual(["verify/unit-22-linux"]);
    expect(plan.get("unit-24-macos")).toMatchObject({ madeFrom: "verify/unit", variant: { node: "24", os: "macOS" } });
    expect(plan.get("lint")).toMatchObject({ madeFrom: "", variant: {} });
  });

  it("has names that differ where values are not letters, are alike or are long", () => {
    const values = `["1.0", "1-0", "*", "${"x".repeat(80)}", "${"x".repeat(79)}y", b]`;
    const names = tasksOf(parsed(withTask(`{ run: x, matrix: { v: ${values} } }\n      t-b: { run: x }`))).map(
      ({ name }) => name,
    );
    expect(new Set(names).size).toBe(7);
    for (const name of names) expect(name).toMatch(/^[a-z0-9][a-z0-9_-]{0,62}$/);
    expect(names).toContain("t-b");
  });

  it("takes its values from a list that an expression gives", () => {
    const task = "{ run: x, matrix: { node: \"${{ branch == 'main' ? ['22', '24'] : ['24'] }}\" } }";
    expect(tasksOf(parsed(withTask(task))).map(({ name }) => name)).toEqual(["t-22", "t-24"]);
    expect(tasksOf(parsed(withTask(task), { branch: "x" })).map(({ name }) => name)).toEqual(["t-24"]);
  });

  it.each([
    [
      "{ run: x, matrix: { a: [1, 2] }, outputs: { app: out } }",
      'every variant of s/t makes an artifact "app"\n  hint: put what tells them apart into its name: "app-${{ variant }}"',
    ],
    [
      "{ run: 'x ${{ matrix.nod }}', matrix: { node: [1, 2] } }",
      '${{ matrix.nod }} speaks of matrix.nod, which is not there\n  hint: did you mean "node"?',
    ],
    ["{ run: x, matrix: { a: [] } }", "the matrix has no combination"],
    ["{ run: x, matrix: { a: b } }", '"a" must be a list, not text'],
    ["{ run: x, matrix: { shard: [1] } }", '"shard" cannot be "shard"'],
    ["{ run: x, matrix: { a: [1], include: [b] } }", 'an item of "include" must be a mapping, not text'],
    [
      `{ run: x, matrix: { a: &l [${"1,".repeat(199)}2], b: *l } }`,
      "the matrix has 200 × 200 = 40000 combinations; at most 20000 are possible",
    ],
    ["{ run: x, shards: 0 }", '"shards" must be a whole number from 1 to 20000, not "0"'],
    ["{ run: x, tools: { node: '${{ matrix.a }}' }, matrix: { a: b } }", '"a" must be a list, not text'],
    ["{ run: x, matrix: { a: [1, 2, 3] }, timout: 1h }", 'unknown key "timout" in a task'],
  ])("%s says once what is wrong", (task, message) => {
    expect(problemsOf(withTask(task))).toEqual([expect.stringContaining(message)]);
  });
});

describe("shards", () => {
  it("are tasks that know which they are", () => {
    const tasks = tasksOf(parsed(withTask("{ run: 'part ${{ shard.index }}', shards: 3, env: { A: b } }")));
    expect(tasks.map(({ name, run, env, variant }) => [name, run, env, variant])).toEqual(
      [1, 2, 3].map((index) => [
        `t-${index}-of-3`,
        `part ${index}`,
        { A: "b", MILLRACE_SHARD_COUNT: "3", MILLRACE_SHARD_INDEX: String(index) },
        { shard: `${index}/3` },
      ]),
    );
  });

  it("divide each combination of a matrix", () => {
    const names = tasksOf(parsed(withTask("{ run: x, shards: 2, matrix: { a: [x, y] } }"))).map(({ name }) => name);
    expect(names).toEqual(["t-x-1-of-2", "t-x-2-of-2", "t-y-1-of-2", "t-y-2-of-2"]);
  });
});

describe("a template", () => {
  const templates = `templates:
  base: { run: make, timeout: 5m, env: { A: a, B: b }, inputs: [] }
  node:
    template: base
    params: { version: {}, flags: { default: "" } }
    run: node-\${{ with.version }} \${{ with.flags }}
    env: { B: node }
`;

  it("gives a task what it does not say itself, mappings key by key", () => {
    const [task] = tasksOf(
      parsed(
        withTask("{ template: node, with: { version: 24, flags: -x -y }, env: { C: c }, timeout: 1m }", templates),
      ),
    );
    expect(task).toMatchObject({
      run: "node-24 -x -y",
      env: { A: "a", B: "node", C: "c" },
      timeoutMs: 60_000,
      inputs: [],
    });
  });

  it("takes values from the matrix of its task", () => {
    const task = "{ template: node, matrix: { v: [22, 24] }, with: { version: '${{ matrix.v }}' } }";
    expect(tasksOf(parsed(withTask(task, templates))).map(({ run }) => run.trim())).toEqual(["node-22", "node-24"]);
  });

  it.each([
    ["{ template: nod }", templates, 'there is no template "nod"\n  hint: did you mean "node"?'],
    ["{ template: node }", templates, 'parameter "version" has no value\n  hint: give it one: with: { version: … }'],
    [
      "{ template: node, with: { version: 1, verson: 2 } }",
      templates,
      'there is no parameter "verson"\n  hint: did you mean "version"?',
    ],
    [
      "{ template: a }",
      "templates: { a: { template: b }, b: { template: a } }\n",
      "templates build on each other in a circle: a → b → a",
    ],
    ["{ run: x }", "templates: { a: { rnu: x } }\n", 'unknown key "rnu" in a template\n  hint: did you mean "run"?'],
    [
      "{ template: a }",
      "templates: { a: { run: x, timeot: 1m } }\n",
      'millrace.yaml:2:27: unknown key "timeot" in a t',
    ],
  ])("%s says what is wrong", (task, top, message) => {
    const problems = problemsOf(withTask(task, top));
    expect(problems.join("\n")).toContain(message);
  });
});

describe("what a file may expand to", () => {
  it("is bounded, whatever its matrices and templates multiply", () => {
    const big = `{ run: x, env: { ${Array.from({ length: 400 }, (_, index) => `V${index}: "1"`).join(", ")} }, shards: 10000 }`;
    expect(problemsOf(withTask(big)).join("\n")).toContain("the pipeline has more than 1000000 values");
  });

  it("is planned in seconds for a matrix of 20,000 tasks", () => {
    const values = Array.from({ length: 100 }, (_, index) => index).join();
    const matrix = `{ a: [${values}], b: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] }`;
    const text = withTask(
      `{ run: "x \${{ matrix.a }}", shards: 20, env: { A: "\${{ matrix.b }}" }, matrix: ${matrix} }`,
    );
    // What other processes do meanwhile does not count; it is 1.2 s on an idle machine.
    const before = process.cpuUsage();
    expect(planned(text)).toHaveLength(20_000);
    expect(process.cpuUsage(before).user / 1e6).toBeLessThan(6);
  });
});

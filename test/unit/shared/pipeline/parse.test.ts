import { describe, expect, it } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import type { Pipeline } from "../../../../shared/pipeline/pipeline.ts";

function problemsOf(text: string): string[] {
  return parsePipeline(text, "millrace.yaml").problems.map(formatProblem);
}

function parsed(text: string): Pipeline {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml");
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  return pipeline;
}

const withTask = (lines: string) =>
  `name: shop\nstages:\n  build:\n    tasks:\n      compile:\n        run: make\n${lines}`;

describe("a pipeline file that is right", () => {
  const pipeline = parsed(`
name: shop
defaults: { agents: { os: linux }, timeout: 10m, env: { LEVEL: quick, PORT: 8080 } }
stages:
  build:
    tasks:
      compile:
        run: make
        inputs: ["src/**", "!src/**/*.md"]
        outputs: { app: ./dist/ }
        env: { LEVEL: full, A: 010, B: 1.10, C: yes, D: ~, E: 2026-01-01, F: "" }
        agents: { gpu: 1 }
        timeout: 1h30m
        cache: false
        priority: -5
  verify:
    needs: [build]
    tasks:
      unit: { run: make test, use: [app] }
      smoke: { run: ./smoke.sh, needs: [unit], use: [{ artifact: app, path: opt/app }], inputs: [] }
`);
  const [compile] = pipeline.stages[0]?.tasks ?? [];
  const [unit, smoke] = pipeline.stages[1]?.tasks ?? [];

  it("has every default applied and every name resolved", () => {
    expect(pipeline).toMatchObject({ name: "shop", file: "millrace.yaml" });
    expect(compile).toMatchObject({
      stage: "build",
      name: "compile",
      needs: [],
      run: "make",
      cache: false,
      priority: -5,
    });
    expect(compile).toMatchObject({ timeoutMs: 5_400_000, agents: { gpu: "1", os: "linux" } });
    expect(compile?.outputs).toEqual([{ artifact: "app", path: "dist" }]);
    expect(unit).toMatchObject({
      inputs: undefined,
      timeoutMs: 600_000,
      cache: true,
      priority: 0,
      agents: { os: "linux" },
    });
    expect(unit?.use).toEqual([{ artifact: "app", task: "build/compile", path: "app" }]);
    expect(smoke).toMatchObject({ needs: ["verify/unit"], inputs: [], outputs: [] });
    expect(smoke?.use).toEqual([{ artifact: "app", task: "build/compile", path: "opt/app" }]);
  });

  it("keeps values of the environment as they are written, sorted by name", () => {
    const env = { A: "010", B: "1.10", C: "yes", D: "~", E: "2026-01-01", F: "", LEVEL: "full", PORT: "8080" };
    expect(Object.entries(compile?.env ?? {})).toEqual(Object.entries(env));
  });

  it("remembers where its globs and tasks stand", () => {
    expect(compile?.position).toEqual({ line: 7, column: 7 });
    expect(compile?.inputs).toEqual([
      { pattern: "src/**", position: { line: 9, column: 18 } },
      { pattern: "!src/**/*.md", position: { line: 9, column: 28 } },
    ]);
  });

  it("keeps stages and tasks in file order, even when their names are numbers", () => {
    const { stages } = parsed(
      "name: n\nstages:\n  2: { tasks: { 9: { run: a }, 1: { run: b } } }\n  1: { tasks: { x: { run: c } } }\n",
    );
    expect(stages.map((stage) => stage.name)).toEqual(["2", "1"]);
    expect(stages[0]?.tasks.map((task) => task.name)).toEqual(["9", "1"]);
  });

  it("may share values by anchors", () => {
    const { stages } = parsed(withTask("        inputs: &in [src/]\n      other: { run: x, inputs: *in }\n"));
    expect(stages[0]?.tasks[1]?.inputs?.map((glob) => glob.pattern)).toEqual(["src/"]);
  });
});

describe("a pipeline file with mistakes", () => {
  it("shows all of them at once, in file order, each with its place and what to do", () => {
    const text = `name: Shop
defaults: { timout: 10m }
stages:
  build:
    tasks:
      compile:
        run: make
        timeout: 10
        inputs: ["../secret", "/etc/passwd", "src/[a"]
        outputs: { app: dist/, App: out }
        env: { 1X: a, LIST: [a] }
        cache: maybe
        priority: high
      again: { outputs: { app: x } }
  verify:
    needs: [biuld]
    tasks:
      unit: { run: t, needs: [compile, unti], use: [ap, app], matrix: { node: [22] } }
    gates: []
  empty: {}
`;
    expect(problemsOf(text)).toEqual([
      'millrace.yaml:1:7: "name" is not a name: "Shop"\n  hint: names are 1 to 63 lowercase letters, digits, _ and -, and begin with a letter or digit',
      'millrace.yaml:2:13: unknown key "timout" in defaults\n  hint: did you mean "timeout"?',
      'millrace.yaml:8:18: "timeout" is not a duration: "10"\n  hint: write for example 90s, 10m or 1h30m',
      'millrace.yaml:9:18: an item of "inputs" leaves the working directory: "../secret"\n  hint: globs are relative to the top of the source',
      'millrace.yaml:9:31: an item of "inputs" is an absolute path: "/etc/passwd"\n  hint: globs are relative to the top of the source',
      'millrace.yaml:9:46: an item of "inputs" has a [ without its ], or a \\ at the end: "src/[a"\n  hint: \\[ is the letter [',
      'millrace.yaml:10:32: this key is not a name: "App"\n  hint: names are 1 to 63 lowercase letters, digits, _ and -, and begin with a letter or digit',
      'millrace.yaml:11:16: this key is not the name of an environment variable: "1X"\n  hint: letters, digits and _, not beginning with a digit',
      'millrace.yaml:11:29: "LIST" must be text, not a list',
      'millrace.yaml:12:16: "cache" must be true or false, not "maybe"',
      'millrace.yaml:13:19: "priority" must be a whole number from -1000 to 1000, not "high"',
      'millrace.yaml:14:7: "again" has no "run"\n  hint: add it: text',
      'millrace.yaml:14:27: artifact "app" is already made by build/compile\n  hint: give one of them another name',
      'millrace.yaml:16:13: there is no stage "biuld"\n  hint: did you mean "build"?',
      'millrace.yaml:18:31: there is no task "compile"\n  hint: tasks of this stage: unit',
      'millrace.yaml:18:40: there is no task "unti"\n  hint: did you mean "unit"?',
      'millrace.yaml:18:53: there is no artifact "ap"\n  hint: did you mean "app"?',
      'millrace.yaml:18:57: artifact "app" comes from build/compile, and stage "verify" does not need stage "build"\n  hint: add "build" to the needs of stage "verify"',
      'millrace.yaml:19:5: "gates" is not supported yet\n  hint: this version cannot do that; remove the key',
      'millrace.yaml:20:3: stage "empty" has no tasks\n  hint: add at least one',
    ]);
  });

  it.each(["image", "gates", "resources", "reports"])("says that %s is not there yet", (key) => {
    expect(problemsOf(withTask(`        ${key}: x\n`))[0]).toContain(
      `millrace.yaml:7:9: "${key}" is not supported yet`,
    );
  });

  it.each(["environments", "notify"])("says that %s is not there yet", (key) => {
    expect(problemsOf(`${key}: x\n${withTask("")}`)[0]).toContain(`millrace.yaml:1:1: "${key}" is not supported yet`);
  });

  it("says where a key belongs that stands in the wrong place", () => {
    expect(problemsOf("name: a\nstages:\n  s: { run: x, tasks: { t: { run: x } } }\n")).toEqual([
      'millrace.yaml:3:8: unknown key "run" in a stage\n  hint: "run" belongs to a task',
    ]);
  });

  it("draws circles as a path, of stages and of tasks, also through used artifacts", () => {
    const text = `name: a
stages:
  one: { needs: [two], tasks: { t: { run: x } } }
  two: { needs: [one], tasks: { t: { run: x } } }
  self:
    tasks:
      me: { run: x, needs: [me] }
      a: { run: x, needs: [b], outputs: { first: f } }
      b: { run: x, use: [c-out] }
      c: { run: x, use: [first], outputs: { c-out: c } }
`;
    expect(problemsOf(text)).toEqual([
      "millrace.yaml:3:18: stages need each other in a circle: one → two → one\n  hint: remove one of these needs",
      "millrace.yaml:7:29: tasks need each other in a circle: me → me\n  hint: remove one of these needs",
      "millrace.yaml:8:28: tasks need each other in a circle: a → b → c → a\n  hint: remove one of these needs",
    ]);
  });

  it("explains what `use` cannot do", () => {
    const text = withTask(`        outputs: { app: dist }
        use: [app]
      two: { run: x, outputs: { lib: lib } }
      three: { run: x, use: [app, { artifact: lib, path: app/lib }] }
`);
    expect(problemsOf(text)).toEqual([
      'millrace.yaml:8:15: artifact "app" is made by this task itself\n  hint: its output is already in its working directory',
      'millrace.yaml:10:35: artifacts "app" and "lib" land on each other, at app and app/lib\n  hint: give one another place: { artifact: …, path: … }',
    ]);
  });

  it.each([
    ["", "1:1: the file is empty\n  hint: `millrace init` writes a starter"],
    ["# only a comment\n", "1:1: the file is empty\n  hint: `millrace init` writes a starter"],
    ["just text", "1:1: the file must be a mapping, not text"],
    ["name: a\n", '1:1: the pipeline has no "stages"\n  hint: add it: a mapping'],
    ["name: a\nstages:\n", '2:8: "stages" is empty\n  hint: give it a mapping'],
    [withTask("        needs: other\n"), '7:16: "needs" must be a list, not text\n  hint: write [other]'],
    [withTask("        run: again\n"), '7:9: "run" is given twice\n  hint: keep one of them'],
    [withTask("        env: !secret x\n"), "7:14: tags are not supported"],
    [withTask("        timeout: 25h\n"), '7:18: "timeout" is too long: 25h\n  hint: the longest is 1d'],
    [
      withTask("        outputs: { all: ./ }\n"),
      '7:25: "all" names the whole working directory: "./"\n  hint: name a file or folder in it',
    ],
    [
      withTask("        outputs: { out: a/../../b }\n"),
      '7:25: "out" leaves the working directory: "a/../../b"\n  hint: paths are relative to the top of the source',
    ],
    [withTask("        __proto__: x\n"), '7:9: "__proto__" cannot be a key'],
    [
      withTask("        <<: x\n"),
      "7:9: merge keys are not supported\n  hint: use an alias for the whole value, or `templates`",
    ],
    [withTask('        env: { A: "a\\0b" }\n'), '7:19: "A" contains a NUL character'],
    ["name: a\nstages: {}\n", "2:1: the pipeline has no stages\n  hint: add one with a task"],
    ["name: [a\nstages: {}\n", "2:1: "],
    ["a: 1\n---\nb: 2\n", "2:1: "],
  ])("finds the mistake in %j", (text, expected) => {
    expect(problemsOf(text)[0]).toContain(`millrace.yaml:${expected}`);
  });

  it("agrees with editors about columns, and points into what an alias stands for", () => {
    const text = "name: ünï\nstages:\n  a: &x { tasks: { t: { run: r, needs: [nope] } } }\n  b: *x\n";
    expect(problemsOf(text).map((problem) => problem.split(": ")[0])).toEqual([
      "millrace.yaml:1:7",
      "millrace.yaml:3:41",
    ]);
  });
});

describe("a manual stage", () => {
  const manual = (text: string) => `name: a\nstages:\n  explore: { manual: ${text} }\n`;

  it("becomes one task that a person decides, a week of time and a rejection by default", () => {
    const [task] = parsed(manual("{ title: Exploratory test }")).stages[0]?.tasks ?? [];
    expect(task).toMatchObject({ stage: "explore", name: "approval", run: "", inputs: [], cache: false });
    expect(task?.gate).toMatchObject({
      title: "Exploratory test",
      checklist: [],
      approvers: [],
      timeoutMs: 604_800_000,
      onTimeout: "reject",
    });
  });

  it("says what to look at, who may decide, by when and what else happens", () => {
    const text = "{ title: t, checklist: [a, b], approvers: [qa, qa, admin], timeout: 48h, on_timeout: approve }";
    expect(parsed(manual(text)).stages[0]?.tasks[0]?.gate).toMatchObject({
      title: "t",
      checklist: ["a", "b"],
      approvers: ["qa", "admin"],
      timeoutMs: 172_800_000,
      onTimeout: "approve",
    });
  });

  it("has every problem named", () => {
    expect(
      problemsOf(manual('{ titel: x, approvers: ["two words"], timeout: 91d, on_timeout: maybe }')).map(
        (problem) => problem.split("\n")[0],
      ),
    ).toEqual([
      'millrace.yaml:3:14: "manual" has no "title"',
      'millrace.yaml:3:24: unknown key "titel" in a manual stage',
      'millrace.yaml:3:46: an item of "approvers" is not the name of a token or a role: "two words"',
      'millrace.yaml:3:69: "timeout" is too long: 91d',
      'millrace.yaml:3:86: "on_timeout" must be approve or reject, not "maybe"',
    ]);
    const many = `[${"x, ".repeat(limits.gateItems)}x]`;
    expect(problemsOf(manual(`{ title: t, checklist: ${many} }`))[0]).toContain("has more than 100 items");
  });

  it("has no tasks beside its gate", () => {
    expect(problemsOf("name: a\nstages:\n  s: { tasks: { t: { run: x } }, manual: { title: t } }\n")).toEqual([
      'millrace.yaml:3:34: stage "s" has "tasks" and "manual"\n  hint: make two stages of it, of which one needs the other',
    ]);
  });
});

describe("a stage that deploys", () => {
  const build = "name: a\nstages:\n  build: { tasks: { b: { run: x, outputs: { app: dist } } } }\n";
  const deploy = (text: string, more = "") => `${build}  live:\n    needs: [build]\n${more}    deploy: ${text}\n`;
  const right = '{ environment: local, use: [app], start: serve, probe: { http: "http://127.0.0.1:8090/h" } }';

  it("is one task that uses the release and reads nothing of the source", () => {
    const { pipeline } = parsePipeline(deploy(right.replace("start:", "env: { B: 2, A: 1 }, start:")), "millrace.yaml");
    const [task, ...others] = pipeline?.stages[1]?.tasks ?? [];
    expect(others).toEqual([]);
    expect(task).toMatchObject({
      name: "deploy",
      run: "serve",
      inputs: [],
      use: [{ artifact: "app", task: "build/b" }],
      env: { A: "1", B: "2" },
      cache: false,
      deployment: {
        environment: "local",
        app: "app",
        probeUrl: "http://127.0.0.1:8090/h",
        probeTimeoutMs: limits.probeTimeoutMs,
      },
    });
  });

  it.each([
    [deploy(right.replace("local", "Local")), '6:28: "environment" is not a name: "Local"'],
    [deploy(right.replace("[app]", "[ap]")), '6:41: there is no artifact "ap"'],
    [deploy(right.replace("[app]", "[app, app]")), '6:40: "use" must name exactly one artifact'],
    [deploy(right.replace("[app]", "[]")), '6:40: "use" must name exactly one artifact'],
    [deploy(right.replace("http:/", "https:/")), '6:76: "http" is not an http address'],
    [deploy(right.replace("http:", "tcp:")), '"tcp" is not supported yet'],
    [deploy(right.replace("start: serve, ", "")), '6:5: "deploy" has no "start"'],
    [deploy(right, "    tasks: { t: { run: x } }\n"), '7:5: stage "live" has "tasks" and "deploy"'],
    [deploy(right).replace("    needs: [build]\n", ""), '"live" does not need stage "build"'],
  ])("finds the mistake in %j", (text, expected) => {
    expect(problemsOf(text).join("\n")).toContain(expected);
  });
});

describe("a task that is not idempotent", () => {
  const task = (text: string) => parsePipeline(`name: a\nstages: { a: { tasks: { t: { run: x, ${text} } } } }\n`, "f");

  it("is not answered from the cache", () => {
    expect(task("idempotent: false").pipeline?.stages[0]?.tasks[0]).toMatchObject({ idempotent: false, cache: false });
    expect(task("idempotent: true").pipeline?.stages[0]?.tasks[0]).toMatchObject({ idempotent: true, cache: true });
  });

  it("may not ask for that", () => {
    const [problem] = task("idempotent: false, cache: true").problems;
    expect(problem).toMatchObject({ line: 2, column: 64 });
    expect(problem?.message).toContain('"cache" cannot be true where `idempotent` is false');
  });
});

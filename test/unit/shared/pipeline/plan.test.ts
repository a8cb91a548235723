import { fromBinary, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ActionSchema,
  type Command,
  CommandSchema,
  DirectorySchema,
} from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type PlannedTask, PlannedTaskSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestFromMessage, digestKey, digestOf, emptyDigest } from "../../../../shared/digest.ts";
import { buildTree } from "../../../../shared/merkle/build-tree.ts";
import type { TreeEntry } from "../../../../shared/merkle/tree-entry.ts";
import { actionFor } from "../../../../shared/pipeline/action.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { planRun, type RunPlan } from "../../../../shared/pipeline/plan.ts";

function file(path: string, content = path): TreeEntry {
  return { path, node: { kind: "file", digest: digestOf(Buffer.from(content)), executable: false } };
}

const source = ["README.md", "src/a.js", "src/lib/b.js", "src/lib/b.test.js", "test/t.js"].map((path) => file(path));

function plan(text: string, { stages = [] as string[], tasks = [] as string[], entries = source } = {}): RunPlan {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml");
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  return planRun({ pipeline, source: entries, offers: [], stages, tasks });
}

const ids = (result: RunPlan) => result.tasks.map((task) => `${task.stage}/${task.name}`);
const key = (digest: PlannedTask["commandDigest"]) => digestKey(digestFromMessage(digest));

function commandOf(result: RunPlan, index: number): Command {
  const wanted = key(result.tasks[index]?.commandDigest);
  const blob = result.blobs.find(({ digest }) => digestKey(digest) === wanted);
  if (blob === undefined) throw new Error("the plan lacks its Command");
  return fromBinary(CommandSchema, blob.data);
}

const shop = `
name: shop
stages:
  verify:
    needs: [build]
    tasks:
      smoke: { run: smoke, use: [app], needs: [unit] }
      unit: { run: unit, inputs: ["src/", "test/"], use: [{ artifact: app, path: opt/app }] }
  build:
    tasks:
      pack: { run: pack, use: [app], inputs: [] }
      compile:
        run: make
        inputs: ["src/**", "!**/*.test.js"]
        outputs: { map: dist/map, app: dist, again: dist }
        env: { B: "2", A: "1" }
        agents: { os: linux, arch: x64 }
        timeout: 90s
        cache: false
        priority: 7
  lint: { tasks: { all: { run: lint } } }
`;

describe("a planned run", () => {
  const result = plan(shop);

  it("has tasks after all that they need, otherwise in file order", () => {
    expect(ids(result)).toEqual(["build/compile", "build/pack", "verify/unit", "verify/smoke", "lint/all"]);
  });

  it("names as needs the tasks of needed stages, the task's own needs and the makers of what it uses", () => {
    const needs = Object.fromEntries(result.tasks.map((task) => [`${task.stage}/${task.name}`, task.needs]));
    expect(needs).toEqual({
      "build/compile": [],
      "build/pack": ["build/compile"],
      "verify/unit": ["build/pack", "build/compile"],
      "verify/smoke": ["verify/unit", "build/pack", "build/compile"],
      "lint/all": [],
    });
  });

  it("carries what the task says", () => {
    expect(result.tasks[0]).toMatchObject({ doNotCache: true, priority: 7, timeout: { seconds: 90n } });
    expect(result.tasks[0]?.platform?.properties.map(({ name, value }) => [name, value])).toEqual([
      ["arch", "x64"],
      ["os", "linux"],
    ]);
    expect(result.tasks[1]?.platform).toBeUndefined();
    expect(result.tasks[2]?.uses.map(({ task, artifact, path }) => [task, artifact, path])).toEqual([
      ["build/compile", "app", "opt/app"],
    ]);
  });

  it("has canonical Commands: a shell, the environment by name, each output path once and sorted", () => {
    const command = commandOf(result, 0);
    expect(command.arguments).toEqual(["/bin/sh", "-e", "-c", "make"]);
    expect(command.environmentVariables.map(({ name, value }) => [name, value])).toEqual([
      ["A", "1"],
      ["B", "2"],
    ]);
    expect(command.outputPaths).toEqual(["dist", "dist/map"]);
  });

  it("gives each task exactly the inputs that it declares, and the whole source when it declares none", () => {
    const root = (paths: string[]) => digestKey(buildTree(paths.map((path) => file(path))).root);
    const roots = result.tasks.map((task) => key(task.inputRootDigest));
    expect(roots).toEqual([
      root(["src/a.js", "src/lib/b.js"]),
      digestKey(emptyDigest),
      root(["src/a.js", "src/lib/b.js", "src/lib/b.test.js", "test/t.js"]),
      root(source.map((entry) => entry.path)),
      root(source.map((entry) => entry.path)),
    ]);
  });

  it("brings every blob that it names, once", () => {
    const keys = result.blobs.map(({ digest }) => digestKey(digest));
    expect(new Set(keys).size).toBe(keys.length);
    for (const { digest, data } of result.blobs) expect(digestOf(data)).toEqual(digest);
    for (const task of result.tasks)
      expect(keys).toEqual(expect.arrayContaining([key(task.commandDigest), key(task.inputRootDigest)]));
  });

  it("makes Actions that are keyed by command, inputs, time-out and platform alone", () => {
    const [compile] = result.tasks;
    if (compile === undefined) throw new Error("nothing was planned");
    const { action, digest, blob } = actionFor(compile, emptyDigest);
    expect(digestOf(blob.data)).toEqual(digest);
    expect(Buffer.from(toBinary(ActionSchema, action)).equals(blob.data)).toBe(true);
    expect(action).toMatchObject({ doNotCache: true, timeout: { seconds: 90n }, commandDigest: compile.commandDigest });
    expect(actionFor({ ...compile, name: "other", needs: [], priority: 1 }, emptyDigest).digest).toEqual(digest);
    expect(actionFor(compile, digest).digest).not.toEqual(digest);
  });
});

describe("a selection", () => {
  it("runs a task and what it needs", () => {
    expect(ids(plan(shop, { tasks: ["pack"] }))).toEqual(["build/compile", "build/pack"]);
    expect(ids(plan(shop, { tasks: ["verify/unit"] }))).toEqual(["build/compile", "build/pack", "verify/unit"]);
  });

  it("runs a stage and what it needs", () => {
    expect(ids(plan(shop, { stages: ["lint"] }))).toEqual(["lint/all"]);
    expect(ids(plan(shop, { stages: ["lint"], tasks: ["compile"] }))).toEqual(["build/compile", "lint/all"]);
  });

  it("of unknown or ambiguous names is refused with all of them", () => {
    const text = "name: a\nstages: { one: { tasks: { t: { run: x } } }, two: { tasks: { t: { run: x } } } }\n";
    const { problems, tasks } = plan(text, { stages: ["on"], tasks: ["t", "one/z", "zzz"] });
    expect(tasks).toEqual([]);
    expect(problems.map(formatProblem)).toEqual([
      'millrace.yaml:1:1: there is no stage "on" to run\n  hint: did you mean "one"?',
      'millrace.yaml:1:1: there are 2 tasks "t"\n  hint: name one of them: one/t, two/t',
      'millrace.yaml:1:1: there is no task "one/z" to run\n  hint: did you mean "one/t"?',
      'millrace.yaml:1:1: there is no task "zzz" to run\n  hint: tasks: t, t',
    ]);
  });
});

describe("planning refuses", () => {
  it("globs that match nothing, at their place, with the folder that was meant", () => {
    const text = 'name: a\nstages: { s: { tasks: { t: { run: x, inputs: [src, "lib/**", "!nothing"] } } } }\n';
    expect(plan(text).problems.map(formatProblem)).toEqual([
      'millrace.yaml:2:47: "src" matches no file of the source\n  hint: "src" is a folder; write "src/" for everything below it',
      'millrace.yaml:2:52: "lib/**" matches no file of the source\n  hint: remove it, or check that the file is part of the source and not ignored',
    ]);
  });

  it("artifacts that would land on inputs, below them or around them", () => {
    const use = (path: string) =>
      plan(`name: a
stages:
  s:
    tasks:
      make: { run: x, outputs: { app: out } }
      use: { run: x, use: [{ artifact: app, path: ${path} }] }
`).problems.map(({ line, column, message }) => `${line}:${column} ${message}`);
    expect(use("src")).toEqual(['6:7 artifact "app" would land at src, where the inputs have src/a.js']);
    expect(use("src/a.js")).toEqual(['6:7 artifact "app" would land at src/a.js, where the inputs have src/a.js']);
    expect(use("README.md/app")).toEqual([
      '6:7 artifact "app" would land at README.md/app, where the inputs have README.md',
    ]);
    expect(use("src/app")).toEqual([]);
  });

  it("inputs that would take for ever to match", () => {
    const long = Array.from({ length: 3_000 }, (_, n) => file(`${"a".repeat(200)}${n}`));
    const globs = Array.from({ length: 200 }, (_, n) => `"${"*a".repeat(100)}${n}b"`);
    const text = `name: a\nstages: { s: { tasks: { t: { run: x, inputs: [${globs.join(",")}] } } } }\n`;
    expect(plan(text, { entries: long }).problems.map((problem) => problem.message)).toEqual([
      "the inputs of this run are too much to select",
    ]);
  });

  it("stages so large that their needs would not fit into a plan", () => {
    const stage = (name: string, more: string) =>
      `  ${name}: { ${more} tasks: { ${Array.from({ length: 1_100 }, (_, n) => `t${n}: { run: x }`).join(", ")} } }`;
    const text = `name: a\nstages:\n${stage("one", "")}\n${stage("two", "needs: [one],")}\n`;
    expect(plan(text).problems[0]?.message).toContain("need each other 1210000 times");
  });
});

describe("any pipeline", () => {
  interface Shape {
    readonly stages: readonly { readonly needs: readonly number[]; readonly tasks: readonly TaskShape[] }[];
  }
  interface TaskShape {
    readonly needs: readonly number[];
    readonly env: Readonly<Record<string, string>>;
    readonly labels: Readonly<Record<string, string>>;
    readonly inputs: readonly string[];
    readonly use: readonly number[];
  }
  const words = fc.constantFrom("a", "b", "c", "d", "e");
  const pairs = fc.dictionary(words, words, { maxKeys: 4 });
  const task: fc.Arbitrary<TaskShape> = fc.record({
    needs: fc.array(fc.nat(4), { maxLength: 2 }),
    env: pairs,
    labels: pairs,
    inputs: fc.subarray(["src/", "test/", "**/*.js", "README.md", "!**/*.test.js"]),
    use: fc.array(fc.nat(20), { maxLength: 2 }),
  });
  const shape: fc.Arbitrary<Shape> = fc.record({
    stages: fc.array(
      fc.record({
        needs: fc.array(fc.nat(4), { maxLength: 2 }),
        tasks: fc.array(task, { minLength: 1, maxLength: 5 }),
      }),
      { minLength: 1, maxLength: 5 },
    ),
  });

  /** JSON is YAML. Needs go only backwards; `order` turns the keys of every mapping around. */
  function write({ stages }: Shape, order: <T>(items: T[]) => T[]): string {
    const made: { artifact: string; stage: number }[] = [];
    const object = (entries: (readonly [string, unknown])[]) => Object.fromEntries(order(entries));
    const stageEntries = stages.map(({ needs, tasks }, s) => {
      const earlier = [...new Set(needs.filter((need) => need < s))];
      const taskEntries = tasks.map((one, t) => {
        const usable = made.filter(({ stage }) => stage === s || earlier.includes(stage));
        const use = [...new Set(one.use.map((n) => usable[n]?.artifact).filter((artifact) => artifact !== undefined))];
        const artifact = `art-${s}-${t}`;
        made.push({ artifact, stage: s });
        const taskNeeds = [...new Set(one.needs.filter((need) => need < t))].map((need) => `t${need}`);
        const body = object([
          ["run", `echo ${s} ${t}`],
          ["needs", taskNeeds],
          ["env", object(Object.entries(one.env))],
          ["agents", object(Object.entries(one.labels))],
          ["inputs", one.inputs],
          ["outputs", object([[artifact, `out/${t}`]])],
          ["use", use],
        ]);
        return [`t${t}`, body] as const;
      });
      return [
        `s${s}`,
        object([
          ["needs", earlier.map((need) => `s${need}`)],
          ["tasks", object(taskEntries)],
        ]),
      ] as const;
    });
    return JSON.stringify(
      object([
        ["name", "any"],
        ["stages", object(stageEntries)],
      ]),
    );
  }
  const asIs = <T>(items: T[]) => items;
  const reversed = <T>(items: T[]) => items.toReversed();

  it("is planned the same every time", () => {
    fc.assert(
      fc.property(shape, (any) => {
        const [one, two] = [plan(write(any, asIs)), plan(write(any, asIs), { entries: source.toReversed() })];
        expect(one.problems).toEqual([]);
        const bytes = (result: RunPlan) =>
          result.tasks.map((planned) => Buffer.from(toBinary(PlannedTaskSchema, planned)).toString("hex"));
        expect(bytes(two)).toEqual(bytes(one));
      }),
    );
  });

  it("has the same digests whatever the order of its keys", () => {
    const digestOfTask = (one: PlannedTask) => digestKey(actionFor(one, digestFromMessage(one.inputRootDigest)).digest);
    const digests = (result: RunPlan) =>
      Object.fromEntries(result.tasks.map((one) => [`${one.stage}/${one.name}`, digestOfTask(one)]));
    fc.assert(
      fc.property(shape, (any) => {
        expect(digests(plan(write(any, reversed)))).toEqual(digests(plan(write(any, asIs))));
      }),
    );
  });

  it("has needs without a circle, and only among its tasks", () => {
    fc.assert(
      fc.property(shape, (any) => {
        const before = new Set<string>();
        for (const one of plan(write(any, reversed)).tasks) {
          for (const need of one.needs) expect(before).toContain(need);
          for (const use of one.uses) expect(one.needs).toContain(use.task);
          before.add(`${one.stage}/${one.name}`);
        }
      }),
    );
  });

  it("has selections that hold all that they need, and nothing else", () => {
    fc.assert(
      fc.property(shape, fc.nat(4), (any, pick) => {
        const text = write(any, asIs);
        const stage = `s${pick % any.stages.length}`;
        const part = plan(text, { stages: [stage] });
        const chosen = new Set(ids(part));
        const needed = new Set(part.tasks.flatMap((one) => one.needs));
        for (const need of needed) expect(chosen).toContain(need);
        for (const id of chosen) expect(needed.has(id) || id.startsWith(`${stage}/`)).toBe(true);
        const whole = new Map(plan(text).tasks.map((one) => [`${one.stage}/${one.name}`, one]));
        for (const one of part.tasks) expect(one).toEqual(whole.get(`${one.stage}/${one.name}`));
      }),
    );
  });

  it("makes only canonical blobs: reading and writing one again gives the same bytes", () => {
    const again = (schema: typeof CommandSchema | typeof DirectorySchema, data: Uint8Array) =>
      Buffer.from(toBinary(schema, fromBinary(schema, data, { readUnknownFields: false })));
    fc.assert(
      fc.property(shape, (any) => {
        const { tasks, blobs } = plan(write(any, asIs));
        const commands = new Set(tasks.map((one) => key(one.commandDigest)));
        for (const { digest, data } of blobs) {
          const schema = commands.has(digestKey(digest)) ? CommandSchema : DirectorySchema;
          expect(again(schema, data).equals(data)).toBe(true);
        }
      }),
    );
  });
});

describe("the cost of planning", () => {
  it("stays within bounds for 500 tasks over 20,000 files", () => {
    const entries = Array.from({ length: 20_000 }, (_, n) => file(`packages/p${n % 500}/src/d${n % 7}/f${n}.ts`));
    const task = (n: number) =>
      `      t${n}: { run: build ${n}, inputs: ["packages/p${n}/**", "packages/p${(n + 1) % 500}/src/**/*.ts", "!**/*.test.ts"] }`;
    const text = `name: big\nstages:\n  all:\n    tasks:\n${Array.from({ length: 500 }, (_, n) => task(n)).join("\n")}\n`;
    const { pipeline } = parsePipeline(text, "millrace.yaml");
    if (pipeline === undefined) throw new Error("it must parse");
    // About 150 ms on an idle core; work of the order of tasks × files would run into the test's time-out.
    const { tasks, problems } = planRun({ pipeline, source: entries, offers: [], stages: [], tasks: [] });
    expect(problems).toEqual([]);
    expect(tasks.length).toBe(500);
  });
});

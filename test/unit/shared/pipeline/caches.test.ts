import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ActionSaltSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf, emptyDigest } from "../../../../shared/digest.ts";
import { limits } from "../../../../shared/limits.ts";
import { actionFor } from "../../../../shared/pipeline/action.ts";
import { formatProblem } from "../../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import type { Task } from "../../../../shared/pipeline/pipeline.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";

const problemsOf = (text: string) => parsePipeline(text, "millrace.yaml").problems.map(formatProblem);

function parsed(text: string) {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml");
  if (pipeline === undefined) throw new Error(problems.map(formatProblem).join("\n"));
  return pipeline;
}

function plan(text: string, paths = ["src/a.js"]) {
  const source = paths.map((path) => ({
    path,
    node: { kind: "file" as const, digest: digestOf(Buffer.from(path)), executable: false },
  }));
  return planRun({ pipeline: parsed(text), source, offers: [], stages: [], tasks: [] });
}

const withCaches = (caches: string, more = "") =>
  `name: a\nstages:\n  s:\n    tasks:\n      t:\n        run: make\n        caches: ${caches}\n${more}`;

const cachesOf = (task: Task | undefined) => task?.caches.map(({ name, path }) => [name, path]);

describe("caches in a pipeline file", () => {
  it("are names and folders, those of the defaults too, and the task's own win", () => {
    const [first, second] =
      parsed(`name: a
defaults: { caches: { npm: .npm, tsc: .tsc } }
stages:
  s:
    tasks:
      t: { run: x, caches: { tsc: ./build/tsc/, eslint: .eslint } }
      u: { run: x }
`).stages[0]?.tasks ?? [];
    expect(cachesOf(first)).toEqual([
      ["eslint", ".eslint"],
      ["npm", ".npm"],
      ["tsc", "build/tsc"],
    ]);
    expect(first?.caches.map(({ position }) => position)).toEqual([
      { line: 6, column: 49 },
      { line: 6, column: 7 },
      { line: 6, column: 30 },
    ]);
    expect(cachesOf(second)).toEqual([
      ["npm", ".npm"],
      ["tsc", ".tsc"],
    ]);
  });

  it.each([
    ["{ ../npm: .npm }", '7:19: this key is not a name: "../npm"'],
    ["{ npm: ../.npm }", '7:24: "npm" leaves the working directory: "../.npm"'],
    ["{ npm: /etc }", '7:24: "npm" is an absolute path: "/etc"'],
    ["{ npm: . }", '7:24: "npm" names the whole working directory: "."'],
    ['{ npm: "a*" }', '7:24: "npm" is not one file or folder: "a*"'],
    ['{ npm: "a\\0b" }', '7:24: "npm" contains a control character: "a\\u0000b"'],
    ["[npm]", '7:17: "caches" must be a mapping, not a list'],
    ["{ a: x, b: x/y }", '7:25: cache "b" is at x/y, where cache "a" is: x'],
  ])("are refused with line and column when they are wrong: %s", (caches, problem) => {
    expect(problemsOf(withCaches(caches))[0]).toContain(`millrace.yaml:${problem}`);
  });

  it("are nowhere near outputs and artifacts, also when they come from the defaults", () => {
    const text = `name: a
defaults: { caches: { npm: out/cache } }
stages:
  s:
    tasks:
      make: { run: x, outputs: { app: out } }
      test: { run: x, use: [app], caches: { npm: .npm, in: app/x } }
      other: { run: x, outputs: { o: out/cache/o } }
`;
    const hint = "\n  hint: give it a folder of its own";
    expect(problemsOf(text)).toEqual([
      `millrace.yaml:6:7: cache "npm" is at out/cache, where output "app" is: out${hint}`,
      `millrace.yaml:7:56: cache "in" is at app/x, where artifact "app" is: app${hint}`,
      `millrace.yaml:8:7: cache "npm" is at out/cache, where output "o" is: out/cache/o${hint}`,
    ]);
  });

  it("are a bounded number", () => {
    const many = Array.from({ length: limits.taskCaches + 1 }, (_, index) => `c${index}: c${index}`).join(", ");
    expect(problemsOf(withCaches(`{ ${many} }`))[0]).toContain(`the task has ${limits.taskCaches + 1} caches`);
  });

  it("belong to tasks and defaults", () => {
    expect(problemsOf("name: a\ncaches: { a: b }\nstages: { s: { tasks: { t: { run: x } } } }\n")[0]).toContain(
      'millrace.yaml:2:1: unknown key "caches" in the pipeline',
    );
  });
});

describe("caches in a plan", () => {
  it("are not where inputs are", () => {
    expect(plan(withCaches("{ c: src }")).problems.map(formatProblem)).toEqual([
      'millrace.yaml:7:19: cache "c" is at src, where the inputs have src/a.js\n  hint: give it a folder of its own, or keep that out of the inputs',
    ]);
    expect(plan(withCaches("{ c: src }", "        inputs: []\n")).problems).toEqual([]);
    expect(plan(withCaches("{ c: src/c }")).problems).toEqual([]);
  });

  it("are in the key by their names and paths, in one order, and a task without any has the key it always had", () => {
    const declaration = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("p", "q", "r", "s"), {
      noNullPrototype: true,
    });
    const isPossible = (caches: Record<string, string>) =>
      new Set(Object.values(caches)).size === Object.keys(caches).length;
    const keyOf = (caches: Record<string, string>) => {
      const [task] = plan(withCaches(JSON.stringify(caches))).tasks;
      if (task === undefined) throw new Error("nothing was planned");
      return actionFor(task, emptyDigest);
    };
    const possible = declaration.filter(isPossible);
    fc.assert(
      fc.property(possible, possible, (one, other) => {
        const sorted = (caches: Record<string, string>) =>
          JSON.stringify(Object.entries(caches).sort(([a], [b]) => (a < b ? -1 : 1)));
        const [a, b] = [keyOf(one), keyOf(other)];
        expect(a.digest.hash === b.digest.hash).toBe(sorted(one) === sorted(other));
        expect(keyOf(Object.fromEntries(Object.entries(one).reverse())).digest).toEqual(a.digest);
        expect(a.action.salt.byteLength === 0).toBe(Object.keys(one).length === 0);
        const said = fromBinary(ActionSaltSchema, a.action.salt).caches.map(({ name, path }) => [name, path]);
        expect(JSON.stringify(said)).toBe(sorted(one));
      }),
    );
  });

  it("change nothing else that is in the key", () => {
    const [plain, cached] = [plan(withCaches("{}")), plan(withCaches("{ npm: .npm }"))].map(({ tasks }) => tasks[0]);
    expect(cached?.commandDigest).toEqual(plain?.commandDigest);
    expect(cached?.inputRootDigest).toEqual(plain?.inputRootDigest);
    expect(cached?.platform).toEqual(plain?.platform);
  });
});

import { describe, expect, it } from "vitest";
import type { PlanContext } from "../../../../shared/pipeline/plan-context.ts";
import { planned, problemsOf } from "../../../support/pipelines.ts";

describe("conditions", () => {
  const text = `
name: p
params: { level: { options: [quick, full], default: quick } }
stages:
  build: { tasks: { compile: { run: x } } }
  verify:
    needs: [build]
    tasks:
      unit: { run: x }
      load: { run: x, when: "params.level == 'full' || branch == 'release'" }
      docs: { run: x, changes: ["docs/**", "!docs/old/**"] }
      code: { run: x, when: "changed('src/**')" }
  ship: { needs: [verify], when: "branch == 'main'", manual: { title: Ship it? } }
  place: { needs: [verify], changes: ["deploy/"], tasks: { a: { run: x, when: "false" } } }
`;
  const unmet = (context: Partial<PlanContext> = {}) =>
    Object.fromEntries(
      planned(text, context)
        .filter(({ conditionUnmet }) => conditionUnmet !== "")
        .map(({ stage, name, conditionUnmet }) => [`${stage}/${name}`, conditionUnmet]),
    );

  it("that are false say so in the plan, with the reason", () => {
    expect(unmet({ branch: "topic", changedPaths: ["docs/old/a.md", "README.md"] })).toEqual({
      "verify/load": "params.level == 'full' || branch == 'release' is false",
      "verify/docs": "nothing that changed matches docs/**, !docs/old/**",
      "verify/code": "changed('src/**') is false",
      "ship/approval": "branch == 'main' is false",
      "place/a": "nothing that changed matches deploy/",
    });
    expect(unmet({ params: { level: "full" }, changedPaths: ["docs/a.md", "src/b.js", "deploy/x/y"] })).toEqual({
      "place/a": "false is false",
    });
  });

  it("count everything as changed where nobody knows", () => {
    expect(unmet({ params: { level: "full" } })).toEqual({ "place/a": "false is false" });
  });
});

describe("finally", () => {
  const text = `
name: p
params: { level: full }
stages:
  build:
    tasks: { compile: { run: x, matrix: { a: [1, 2] } }, pack: { run: x, needs: [compile] } }
    finally: { tasks: { clean: { run: x } } }
  verify: { needs: [build], tasks: { unit: { run: x } } }
finally:
  when: "!run.cancelled"
  tasks:
    tell: { run: x, when: "run.failed && params.level == 'full'" }
    sum: { run: x, needs: [tell] }
    never: { run: x, when: "branch == 'nothing'" }
`;
  const plan = new Map(planned(text).map((task) => [`${task.stage}/${task.name}`, task]));

  it("are tasks that wait for all others, however they end", () => {
    expect(plan.get("build/clean")).toMatchObject({
      always: true,
      needs: ["build/compile-1", "build/compile-2", "build/pack"],
    });
    expect(plan.get("finally/tell")?.needs).toEqual([
      ...["build/compile-1", "build/compile-2", "build/pack", "build/clean"],
      "verify/unit",
    ]);
    expect(plan.get("finally/sum")?.needs).toContain("finally/tell");
    expect([...plan.values()].filter(({ always }) => always).map(({ name }) => name)).toEqual([
      "clean",
      "tell",
      "sum",
      "never",
    ]);
  });

  it("ask the run when it has come so far, with what was known before in the condition", () => {
    expect(plan.get("finally/tell")?.when).toBe(
      `(!run.cancelled) && ([{"level": "full"}].all(params, run.failed && params.level == 'full'))`,
    );
    expect(plan.get("finally/sum")?.when).toBe("!run.cancelled");
    expect(plan.get("finally/never")).toMatchObject({ when: "", conditionUnmet: "branch == 'nothing' is false" });
  });

  it.each([
    [
      "stages: { finally: { tasks: { a: { run: x } } } }\nfinally: { tasks: { b: { run: x } } }\n",
      'a stage cannot be called "finally"',
    ],
    [
      "stages: { a: { tasks: { a: { run: x } }, finally: { tasks: { a: { run: x } } } } }\n",
      'there is a task "a" in this stage already',
    ],
    ["stages: { a: { tasks: { a: { run: x } } } }\nfinally: { taks: {} }\n", 'unknown key "taks" in finally'],
    [
      "stages: { a: { tasks: { a: { run: x } } } }\nfinally: { tasks: { b: { run: x, when: run.status } } }\n",
      '"when" is neither true nor false',
    ],
    [
      "stages: { a: { tasks: { a: { run: x } } } }\nfinally: { tasks: { b: { run: x, when: \"run.failed && changed('a')\" } } }\n",
      "write what must have changed in `changes`",
    ],
  ])("%s says what is wrong", (rest, message) => {
    expect(problemsOf(`name: p\n${rest}`).join("\n")).toContain(message);
  });
});

import { durationMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { ConcurrencyPolicy, EndingKind, GateFieldKind } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { parsePipeline } from "../../../../shared/pipeline/parse.ts";
import { planRun } from "../../../../shared/pipeline/plan.ts";

function plan(text: string) {
  const { pipeline, problems } = parsePipeline(text, "millrace.yaml");
  expect(problems).toEqual([]);
  if (pipeline === undefined) throw new Error("not reached: no problems and no pipeline");
  return planRun({ pipeline, source: [], offers: [], stages: [], tasks: [] });
}

function problemsOf(task: string): string[] {
  const text = `name: p\nstages:\n  s:\n    tasks:\n      t: { run: "true", ${task} }\n`;
  return parsePipeline(text, "millrace.yaml").problems.map(
    ({ line, column, message }) => `${line}:${column} ${message}`,
  );
}

describe("the policies of a task", () => {
  it("reach the plan", () => {
    const { tasks, concurrency } = plan(`
name: shop
concurrency: { group: shop/main, policy: cancel-superseded }
defaults: { retry: 1 }
stages:
  build:
    tasks:
      plain: { run: "true" }
      careful:
        run: "true"
        retry: { times: 2, on: [exit 75, SIGSEGV, timeout], delay: 10s, infrastructure: 5 }
        allow_failure: true
        concurrency: { group: database, limit: 2 }
        secrets: { TOKEN: npm-token, KEY: { secret: key, file: true } }
        generates: true
`);
    expect(concurrency).toMatchObject({ name: "shop/main", limit: 1, policy: ConcurrencyPolicy.CANCEL_SUPERSEDED });
    const [plain, careful] = tasks;
    expect(plain?.retry).toMatchObject({ retries: 1, exitCodes: [], signals: [], kinds: [] });
    expect(plain?.retry?.infrastructure).toBeUndefined();
    expect(careful).toMatchObject({
      retry: {
        retries: 2,
        exitCodes: [75],
        signals: ["SIGSEGV"],
        kinds: [EndingKind.TIMED_OUT],
        infrastructure: 5,
      },
      allowFailure: true,
      concurrency: { name: "database", limit: 2, policy: ConcurrencyPolicy.QUEUE },
      secrets: [
        { env: "KEY", secret: "key", file: true },
        { env: "TOKEN", secret: "npm-token", file: false },
      ],
      generates: ".millrace-generated.yaml",
    });
    expect(careful?.retry?.delay && durationMs(careful.retry.delay)).toBe(10_000);
  });

  it("take `any` as any failure of the task", () => {
    const [task] = plan(
      'name: p\nstages: { s: { tasks: { t: { run: "true", retry: { times: 1, on: [any, exit 3] } } } } }',
    ).tasks;
    expect(task?.retry).toMatchObject({ retries: 1, exitCodes: [], signals: [], kinds: [] });
  });

  it.each([
    ["retry: 11", 'must be a whole number from 0 to 10, not "11"'],
    ["retry: { on: [exit 0] }", 'is not an ending: "exit 0"'],
    ["retry: { on: [SIGSEV] }", 'is not an ending: "SIGSEV"'],
    ["retry: { tims: 1 }", 'unknown key "tims" in a retry policy'],
    ["retry: { delay: 2h }", "is too long: 2h"],
    ["concurrency: a b", 'is not the name of a concurrency group: "a b"'],
    ["concurrency: { group: g, policy: drop }", 'must be queue or cancel-superseded, not "drop"'],
    ["secrets: { TOKEN: { file: true } }", '"TOKEN" has no "secret"'],
    ["secrets: { UID: token }", "this key cannot hold a secret: shells set UID by themselves"],
  ])("are refused as `%s` with what is wrong", (task, message) => {
    expect(problemsOf(task)).toEqual([expect.stringContaining(message)]);
  });
});

describe("what a manual stage asks of people", () => {
  it("is how many of them, what they fill in, and what they show", () => {
    const [gate] = plan(`
name: shop
stages:
  ship:
    manual:
      title: Ship it?
      approvals: 2
      approvers: [qa]
      evidence: true
      fields:
        risk: { title: How risky is it?, type: choice, options: [low, high], required: true }
        note: {}
`).tasks;
    expect(gate?.gate).toMatchObject({
      approvals: 2,
      authorMayApprove: false,
      evidenceRequired: true,
      fields: [
        {
          name: "risk",
          title: "How risky is it?",
          kind: GateFieldKind.CHOICE,
          options: ["low", "high"],
          required: true,
        },
        { name: "note", title: "note", kind: GateFieldKind.TEXT, options: [], required: false },
      ],
    });
  });

  it("lets the author decide where it does not state how many", () => {
    const [gate] = plan("name: p\nstages: { s: { manual: { title: ok? } } }").tasks;
    expect(gate?.gate).toMatchObject({ approvals: 1, authorMayApprove: true });
  });

  it("has options where, and only where, one chooses", () => {
    const fields = "fields: { a: { type: choice }, b: { type: text, options: [x] } }";
    const text = `name: p\nstages: { s: { manual: { title: ok?, ${fields} } } }`;
    expect(parsePipeline(text, "millrace.yaml").problems.map(({ message }) => message)).toEqual([
      '"options" belong to a field of the type choice, and are what one chooses from',
      '"options" belong to a field of the type choice, and are what one chooses from',
    ]);
  });
});

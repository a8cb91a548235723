import fc from "fast-check";
import { expect, test } from "vitest";
import { keptPlans, questionOf } from "../../../../../coordinator/delivery/run/kept-plans.ts";
import { digestOf } from "../../../../../shared/digest.ts";
import { noRun } from "../../../../../shared/pipeline/plan-context.ts";

function planOf(items: number) {
  return {
    pipeline: `of ${items}`,
    pipelinePath: "millrace.yaml",
    params: {},
    tasks: [],
    restsOn: Array.from({ length: items }, (_, n) => digestOf(Buffer.of(n))),
  };
}

test("the plans used last are kept, as many as fit", () => {
  const step = fc.record({
    keep: fc.boolean(),
    key: fc.integer({ min: 0, max: 5 }),
    items: fc.integer({ min: 0, max: 12 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const plans = keptPlans(10);
      let model: { key: string; items: number }[] = []; // last used last
      for (const { keep, key: number, items } of steps) {
        const key = String(number);
        const known = model.find((each) => each.key === key);
        if (!keep) {
          expect(plans.find(key)?.pipeline).toBe(known && `of ${known.items}`);
          if (known !== undefined) model = [...model.filter((each) => each !== known), known];
          continue;
        }
        plans.keep(key, planOf(items));
        model = model.filter((each) => each !== known);
        if (items > 10) continue;
        while (items + model.reduce((sum, each) => sum + each.items, 0) > 10) model.shift();
        model.push({ key, items });
      }
    }),
  );
});

test("whatever a plan follows from makes it another question", () => {
  const context = { ...noRun, params: { a: "1", b: "2" } };
  const nothing = { stages: [], tasks: [], offers: [] };
  const asked = { source: digestOf(Buffer.of(1)), pipelinePath: "millrace.yaml", context, ...nothing };
  const tools = [{ name: "node", version: "24.1.0", fingerprint: "f" }];
  const others = [
    asked,
    { ...asked, source: digestOf(Buffer.of(2)) },
    { ...asked, pipelinePath: "other.yaml" },
    { ...asked, stages: ["a"] },
    { ...asked, tasks: ["a"] },
    { ...asked, stages: ["a", "b"] },
    { ...asked, stages: ["a,b"] },
    { ...asked, offers: [{ labels: {}, tools: [] }] },
    { ...asked, offers: [{ labels: { os: "linux" }, tools: [] }] },
    { ...asked, offers: [{ labels: {}, tools }] },
    { ...asked, context: { ...context, params: { a: "1" } } },
    { ...asked, context: { ...context, branch: "main" } },
    { ...asked, context: { ...context, changedPaths: [] } },
    { ...asked, context: { ...context, project: "other" } },
  ];
  expect(new Set(others.map(questionOf)).size).toBe(others.length);
  const sameParams = { ...context, params: { b: "2", a: "1" } };
  expect(questionOf({ ...asked, context: sameParams })).toBe(questionOf(asked));
});

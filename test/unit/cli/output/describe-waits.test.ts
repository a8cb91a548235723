import { describe, expect, it } from "vitest";
import { describeWaits } from "../../../../cli/output/describe-waits.ts";

const waits = { task: "verify/unit", since: null, sinceMs: 1_000 };
const secretAdvice = "`millrace secret set NAME` gives the secret a value";

describe("why, for a person", () => {
  it("gives advice once, as the row of the task or below it", () => {
    const detail = "the secret tok has no value: `millrace secret set tok`";
    expect(describeWaits([{ ...waits, code: "secret", detail, advice: secretAdvice }])).not.toContain(secretAdvice);
    const paused = describeWaits([{ ...waits, code: "paused", detail: "by user:anna", advice: "resume it" }]);
    expect(paused).toMatch(/by user:anna.*\n\nresume it\n$/s);
  });

  it("names a few of the tasks that are still open, and counts the others", () => {
    const openNeeds = Array.from({ length: 300 }, (_, index) => ({ task: `build/t${index}`, status: "waiting" }));
    const said = describeWaits([{ ...waits, code: "needs", detail: "", advice: "", openNeeds }]);
    expect(said).toContain("build/t9 (waiting) and 290 more");
  });
});

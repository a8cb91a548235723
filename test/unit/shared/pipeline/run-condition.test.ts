import { describe, expect, it } from "vitest";
import { runCondition } from "../../../../shared/pipeline/run-condition.ts";

const succeeded = { failed: false, cancelled: false };
const failed = { failed: true, cancelled: false };
const cancelled = { failed: true, cancelled: true };

describe("a condition on the end of a run", () => {
  it("knows whether it failed or was cancelled, and its status", () => {
    expect([succeeded, failed, cancelled].map((run) => runCondition("run.failed", run))).toEqual([false, true, true]);
    expect([succeeded, failed, cancelled].map((run) => runCondition("run.cancelled", run))).toEqual([
      false,
      false,
      true,
    ]);
    const only = "run.status == 'failed'";
    expect([succeeded, failed, cancelled].map((run) => runCondition(only, run))).toEqual([false, true, false]);
  });

  it("is refused where it is no condition on a run", () => {
    for (const text of ["run.status", "params.level == 'full'", "run.faild", "run.failed &&", ""]) {
      expect(() => runCondition(text, failed), text).toThrow(expect.objectContaining({ code: "invalid_argument" }));
    }
  });
});

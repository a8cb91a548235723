import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type DeployState,
  type DeployStep,
  firstState,
  isFinal,
  nextState,
  type StepResult,
} from "../../../../agent/operations/deploy-state.ts";

const results: fc.Arbitrary<StepResult> = fc.oneof(
  { weight: 4, arbitrary: fc.constant({ kind: "done" } as const) },
  { weight: 1, arbitrary: fc.constant({ kind: "unchanged" } as const) },
  fc.record({ kind: fc.constant("failed" as const), reason: fc.string({ minLength: 1 }), cancelled: fc.boolean() }),
);

/** The steps that were taken, and the end. */
function walk(given: readonly StepResult[], hasPrevious: boolean): { steps: DeployStep[]; end: DeployState } {
  const steps: DeployStep[] = [];
  let state = firstState;
  for (const result of given) {
    if (isFinal(state)) break;
    steps.push(state.step);
    state = nextState(state, result, hasPrevious);
  }
  return { steps, end: state };
}

const done: StepResult = { kind: "done" };
const failed: StepResult = { kind: "failed", reason: "no good answer" };

describe("a deployment", () => {
  test("that goes well takes every step once", () => {
    const { steps, end } = walk(Array(10).fill(done), true);
    expect(steps).toEqual(["fetching", "stopping", "flipping", "starting", "probing"]);
    expect(end).toMatchObject({ step: "succeeded", healthy: true, wentBack: false });
  });

  test("that fails before it touches anything leaves the old release as it was", () => {
    const { steps, end } = walk([failed], true);
    expect(steps).toEqual(["fetching"]);
    expect(end).toMatchObject({ step: "failed", healthy: true, wentBack: false, reason: "no good answer" });
  });

  test("whose probe fails goes back by the same path", () => {
    const { steps, end } = walk([done, done, done, done, failed, ...Array(10).fill(done)], true);
    expect(steps.slice(5)).toEqual(["back-stopping", "back-flipping", "back-starting", "back-probing"]);
    expect(end).toMatchObject({ step: "failed", healthy: true, wentBack: true, reason: "no good answer" });
  });

  test("with nothing to go back to takes its release away", () => {
    const { steps, end } = walk([done, done, done, done, failed, ...Array(10).fill(done)], false);
    expect(steps.slice(5)).toEqual(["back-stopping", "back-flipping"]);
    expect(end).toMatchObject({ step: "failed", healthy: false, wentBack: true });
  });

  test("tells of both failures when the way back fails, too", () => {
    const { end } = walk([done, done, done, failed, done, done, done, failed], true);
    expect(end).toMatchObject({ step: "failed", healthy: false });
    expect(end.reason).toBe("no good answer; going back failed as well: no good answer");
  });

  test("always ends, never succeeds after a failure, never goes forward from the way back", () => {
    fc.assert(
      fc.property(fc.array(results, { minLength: 10, maxLength: 20 }), fc.boolean(), (given, hasPrevious) => {
        const { steps, end } = walk(given, hasPrevious);
        expect(isFinal(end)).toBe(true);
        expect(steps.length).toBeLessThanOrEqual(9);
        expect(new Set(steps).size).toBe(steps.length);
        const hasFailed = given.slice(0, steps.length).some(({ kind }) => kind === "failed");
        expect(end.step === "failed").toBe(hasFailed);
        const back = steps.findIndex((step) => step.startsWith("back-"));
        if (back >= 0) expect(steps.slice(back).every((step) => step.startsWith("back-"))).toBe(true);
        expect(end.wentBack).toBe(back >= 0);
        // Nothing is said to be healthy that no probe has answered for, or that was never there.
        if (end.healthy && end.step === "failed") expect(hasPrevious).toBe(true);
      }),
    );
  });
});

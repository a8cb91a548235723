import { expect, test } from "vitest";
import { conclusion, type LaidOutTask } from "../../../../agent/executor/executor.ts";
import { keptTrees } from "../../../../agent/shell/kept-trees.ts";
import { EndingKind } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../../shared/limits.ts";
import { masking } from "../../../../shared/masking/masking.ts";
import { fakeClock } from "../../../support/fake-clock.ts";

function setUp({ hasRoom = true } = {}) {
  const clock = fakeClock();
  const removed: string[] = [];
  const kept = keptTrees({ clock, hasRoom: () => hasRoom });
  const taskOf = (executionId: string, more: object = {}) => {
    const root = { remove: () => void removed.push(executionId) };
    return { executionId, volatileEnvironment: { MILLRACE_RUN: "run_1" }, root, ...more } as unknown as LaidOutTask;
  };
  return { clock, removed, kept, taskOf };
}

const exited = (exitCode: number) => conclusion({ kind: EndingKind.EXITED, exitCode });

test.each([
  [EndingKind.EXITED, true],
  [EndingKind.SIGNALLED, true],
  [EndingKind.TIMED_OUT, true],
  [EndingKind.OUT_OF_MEMORY, true],
  [EndingKind.CANCELLED, false],
  [EndingKind.INFRASTRUCTURE, false],
])("what ended as %i is kept: %s", (kind, isKept) => {
  const { kept, taskOf } = setUp();
  expect(kept.keep(taskOf("a"), conclusion({ kind, exitCode: 1 }))).toBe(isKept);
  expect(kept.take("a") !== undefined).toBe(isKept);
});

test("what succeeded, had or made secrets, or is of a foreign client stays with the caller", () => {
  const { kept, taskOf, removed } = setUp();
  expect(kept.keep(taskOf("a"), exited(0))).toBe(false);
  expect(kept.keep(taskOf("a", { secrets: { environment: {} } }), exited(1))).toBe(false);
  const named = masking([{ name: "MILLRACE_MASK:1", value: Buffer.from("made-at-run-time") }]);
  expect(kept.keep(taskOf("a", { masking: { now: () => named } }), exited(1))).toBe(false);
  expect(kept.keep(taskOf("a", { volatileEnvironment: {} }), exited(1))).toBe(false);
  expect(kept.take("a")).toBeUndefined();
  expect(removed).toEqual([]);
});

test("on a disk that is nearly full nothing is kept", () => {
  const { kept, taskOf } = setUp({ hasRoom: false });
  expect(kept.keep(taskOf("a"), exited(1))).toBe(false);
});

test("the oldest goes when there are too many, and each after its time; what was taken is the taker's", () => {
  const { clock, kept, taskOf, removed } = setUp();
  const names = Array.from({ length: limits.keptTrees + 1 }, (_, index) => `task-${index}`);
  for (const name of names) expect(kept.keep(taskOf(name), exited(1))).toBe(true);
  expect(removed).toEqual(["task-0"]);
  expect(kept.take("task-1")?.executionId).toBe("task-1");
  clock.advance(limits.keptTreeMs);
  expect(removed).toEqual(["task-0", ...names.slice(2)]);
});

test("a later attempt takes the place of an earlier one, and the end of the agent ends all", () => {
  const { kept, taskOf, removed } = setUp();
  kept.keep(taskOf("a"), exited(1));
  kept.keep(taskOf("a"), exited(2));
  expect(removed).toEqual(["a"]);
  kept.close();
  expect(removed).toEqual(["a", "a"]);
  expect(kept.keep(taskOf("b"), exited(1))).toBe(false);
});

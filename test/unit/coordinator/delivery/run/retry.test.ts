import { create } from "@bufbuild/protobuf";
import { durationFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { retryDelayMs } from "../../../../../coordinator/delivery/run/retry-policy.ts";
import {
  EndingKind,
  EndingSchema,
  PlannedTaskSchema,
  RetryPolicySchema,
  RunStatus,
  TaskStatus,
  WaitCause,
} from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../../../shared/limits.ts";
import { end, exit, plannedTask, start, startStory, submit } from "../../../../support/story.ts";

const retry = { retries: 2, delay: durationFromMs(500) };

describe("a task with a policy that fails by itself", () => {
  it("waits for its delay and is begun anew, as another execution, until its tries are used up", () => {
    const story = startStory([plannedTask("t", [], { retry }), plannedTask("next", ["t"])]);
    story.do(submit("t"));
    story.do(start("t"));
    const [retried, waiting, ...more] = story.do(exit("t", 3), 2_000);
    expect(more).toEqual([]);
    expect(retried?.kind).toMatchObject({
      case: "taskRetried",
      value: { task: "s/t", try: 2, ending: { exitCode: 3 }, executionId: "x.t.0" },
    });
    expect(waiting?.kind).toMatchObject({ value: { wait: { cause: WaitCause.RETRY_DELAY } } });
    const task = story.task("t");
    expect(task).toMatchObject({ status: TaskStatus.WAITING, executionId: "", attempts: 0, round: 2, try: 2 });
    expect(task.wait?.detail).toBe("retry 1 of 2 begins 500ms after the try before exited with 3");
    expect(task.notBefore && timestampMs(task.notBefore)).toBe(2_500);
    expect(story.task("next").status).toBe(TaskStatus.WAITING);

    expect(story.do({ kind: "retry-due", task: "s/t" }, 2_499)).toEqual([]);
    story.do({ kind: "retry-due", task: "s/t" }, 2_500);
    expect(task.wait?.cause).toBe(WaitCause.PREPARING);
    story.do(submit("t", 2), 2_500);
    story.do(exit("t", 3), 3_000);
    expect(task.notBefore && timestampMs(task.notBefore)).toBe(4_000);
    story.do({ kind: "retry-due", task: "s/t" }, 4_000);
    story.do(submit("t", 3), 4_000);
    story.do(exit("t", 4), 4_000);
    expect(task).toMatchObject({ status: TaskStatus.FAILED, try: 3, outcome: { try: 3, ending: { exitCode: 4 } } });
    expect(task.tries.map(({ number, executionId }) => [number, executionId])).toEqual([
      [1, "x.t.0"],
      [2, "x.t.2"],
    ]);
    expect(story.task("next").status).toBe(TaskStatus.SKIPPED);
    expect(story.state.status).toBe(RunStatus.FAILED);
  });

  it("takes no word of an execution from before, whatever it says", () => {
    const story = startStory([plannedTask("t", [], { retry })]);
    story.do(submit("t"));
    story.do(exit("t", 3));
    for (const late of [exit("t"), start("t"), submit("t")])
      expect(story.do({ ...late, round: 1 } as never)).toEqual([]);
    expect(story.do(submit("t", 2))).toEqual([]); // it is not due yet
    expect(story.task("t").status).toBe(TaskStatus.WAITING);
  });

  it("is tried no more when its run is cancelled", () => {
    const story = startStory([plannedTask("t", [], { retry }), plannedTask("u", [], { retry })]);
    story.do(submit("t"));
    story.do(submit("u"));
    story.do(exit("u", 1));
    story.do({ kind: "cancel", reason: "enough" });
    expect(story.task("u").status).toBe(TaskStatus.CANCELLED);
    story.do(exit("t", 1));
    expect(story.state.status).toBe(RunStatus.FAILED);
  });
});

describe("whether a policy gives a task another try", () => {
  const ending = (kind: EndingKind, more: { exitCode?: number; signal?: string } = {}) =>
    create(EndingSchema, { kind, ...more });
  const task = (policy: Partial<typeof retry> & Record<string, unknown>, atMostOnce = false) =>
    create(PlannedTaskSchema, { retry: create(RetryPolicySchema, { ...retry, ...policy }), atMostOnce });
  const exited = ending(EndingKind.EXITED, { exitCode: 75 });

  it("says any failure of its own, or those that it names", () => {
    expect(retryDelayMs(task({}), exited, 0)).toBe(500);
    expect(retryDelayMs(task({ exitCodes: [1, 75] }), exited, 0)).toBe(500);
    expect(retryDelayMs(task({ exitCodes: [1] }), exited, 0)).toBeUndefined();
    expect(retryDelayMs(task({ kinds: [EndingKind.TIMED_OUT] }), exited, 0)).toBeUndefined();
    const killed = ending(EndingKind.SIGNALLED, { signal: "SIGSEGV" });
    expect(retryDelayMs(task({ signals: ["SIGSEGV"] }), killed, 1)).toBe(1_000);
    expect(retryDelayMs(task({ signals: ["SIGBUS"] }), killed, 0)).toBeUndefined();
  });

  it("never follows what was not the task's failure, nor a gate, nor a used-up budget", () => {
    const { CANCELLED, AGENT_LOST, INFRASTRUCTURE, REFUSED, REJECTED, DEPLOYMENT_FAILED } = EndingKind;
    for (const kind of [CANCELLED, AGENT_LOST, INFRASTRUCTURE, REFUSED, REJECTED, DEPLOYMENT_FAILED]) {
      expect(retryDelayMs(task({}), ending(kind), 0)).toBeUndefined();
      expect(retryDelayMs(task({ kinds: [kind] }), ending(kind), 0)).toBeUndefined();
    }
    expect(retryDelayMs(task({}), exited, 2)).toBeUndefined();
    expect(retryDelayMs(create(PlannedTaskSchema, { retry, gate: {} }), exited, 0)).toBeUndefined();
  });

  it("lets what is not idempotent be tried again only after an ending that it names", () => {
    expect(retryDelayMs(task({}, true), exited, 0)).toBeUndefined();
    expect(retryDelayMs(task({ exitCodes: [75] }, true), exited, 0)).toBe(500);
  });

  it("doubles the delay up to a bound, and never more", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: limits.retryDelayMaxMs }), fc.nat({ max: 9 }), (delayMs, retries) => {
        const policy = { retries: 10, delay: durationFromMs(delayMs) };
        const delay = retryDelayMs(task(policy), exited, retries);
        expect(delay).toBe(Math.min(delayMs * 2 ** retries, limits.retryDelayMaxMs));
      }),
    );
  });
});

it("a failure of the farm uses none of a task's tries", () => {
  const story = startStory([plannedTask("t", [], { retry })]);
  story.do(submit("t"));
  story.do(end("t", EndingKind.AGENT_LOST));
  expect(story.task("t")).toMatchObject({ status: TaskStatus.FAILED, try: 1, retries: 0 });
});

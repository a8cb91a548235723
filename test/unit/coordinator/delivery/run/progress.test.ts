import { describe, expect, it } from "vitest";
import { dueOf } from "../../../../../coordinator/delivery/run/due.ts";
import { runView } from "../../../../../coordinator/delivery/run/run-view.ts";
import { EndingKind, RunStatus, TaskStatus, WaitCause } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../../../shared/limits.ts";
import { end, exit, plannedTask, start, startStory, submit } from "../../../../support/story.ts";

const uses = (task: string, artifact: string) => ({ uses: [{ task: `s/${task}`, artifact, path: artifact }] });

describe("a failure that is allowed", () => {
  it("does not fail the run, and what needs the task goes on", () => {
    const story = startStory([plannedTask("lint", [], { allowFailure: true }), plannedTask("ship", ["lint"])]);
    story.do(exit("lint", 1));
    expect(story.task("ship").wait?.cause).toBe(WaitCause.PREPARING);
    story.do(exit("ship"));
    expect(story.state.status).toBe(RunStatus.SUCCEEDED);
    expect(runView(story.state)).toMatchObject({ allowedFailures: 1, tasks: [{ allowFailure: true }, {}] });
  });

  it("leaves out what uses an artifact that the task did not leave, and what needs that; not what uses one that is there", () => {
    const story = startStory([
      plannedTask("scan", [], { allowFailure: true }),
      plannedTask("upload", ["scan"], uses("scan", "report")),
      plannedTask("publish", ["upload"]),
      plannedTask("archive", ["scan"], uses("scan", "raw")),
    ]);
    story.do(exit("scan", 1, ["raw"]));
    expect(story.task("upload").skipReason).toBe("uses report, which s/scan did not leave");
    expect(story.task("publish").skipReason).toBe("needs s/upload, which was skipped");
    expect(story.task("archive").wait?.cause).toBe(WaitCause.PREPARING);
  });

  it("is no permission to be cancelled or skipped for want of what it needs", () => {
    const story = startStory([
      plannedTask("a"),
      plannedTask("b", ["a"], { allowFailure: true }),
      plannedTask("c", ["b"]),
    ]);
    story.do(exit("a", 1));
    expect(story.statuses()).toEqual(["failed", "skipped", "skipped"]);
  });
});

describe("a task whose condition was false when the run was planned", () => {
  it("is left out from the start, what needs it goes on, and what uses an artifact of it does not", () => {
    const conditionUnmet = "params.level == 'full' is false";
    const story = startStory([
      plannedTask("a"),
      plannedTask("load", ["a"], { conditionUnmet }),
      plannedTask("report", ["load"]),
      plannedTask("graph", ["load"], uses("load", "numbers")),
    ]);
    expect(story.task("load")).toMatchObject({ status: TaskStatus.SKIPPED, skipReason: conditionUnmet });
    expect(story.statuses()).toEqual(["waiting", "skipped", "waiting", "skipped"]);
    expect(story.task("report").wait?.cause).toBe(WaitCause.PREPARING);
  });

  it("makes a run of nothing else finish at once", () => {
    const story = startStory([
      plannedTask("a", [], { conditionUnmet: "no" }),
      plannedTask("b", [], { conditionUnmet: "no" }),
    ]);
    expect(story.state.status).toBe(RunStatus.SUCCEEDED);
    expect(story.events.at(-1)?.kind.case).toBe("runFinished");
  });
});

describe("a condition on the run", () => {
  const notify = plannedTask("notify", ["a", "b"], { when: "run.failed && !run.cancelled" });

  it("is looked at when all needs have ended, however they did", () => {
    const story = startStory([plannedTask("a"), plannedTask("b"), notify, plannedTask("after", ["notify"])]);
    story.do(exit("a", 1));
    expect(story.task("notify").wait?.cause).toBe(WaitCause.NEEDS);
    story.do(exit("b"));
    expect(story.task("notify").wait?.cause).toBe(WaitCause.PREPARING);
    story.do(exit("notify"));
    story.do(exit("after"));
    expect(story.state.status).toBe(RunStatus.FAILED);
  });

  it("that is false leaves the task out, and what needs it goes on", () => {
    const story = startStory([plannedTask("a"), plannedTask("b"), notify, plannedTask("after", ["notify"])]);
    story.do(exit("a"));
    story.do(exit("b"));
    expect(story.task("notify").skipReason).toBe("run.failed && !run.cancelled is false");
    expect(story.task("after").wait?.cause).toBe(WaitCause.PREPARING);
  });

  it("that cannot be worked out leaves the task out with the reason, and the run comes to its end", () => {
    const story = startStory([plannedTask("a"), plannedTask("b", ["a"], { when: "run.what" })]);
    story.do(exit("a"));
    expect(story.task("b").skipReason).toMatch(/^the condition run.what cannot be worked out: .*run.what/);
    expect(story.state.status).toBe(RunStatus.SUCCEEDED);
  });
});

it("what waits for very many tasks names some of them", () => {
  const names = Array.from({ length: 30 }, (_, n) => `t${n}`);
  const story = startStory([...names.map((name) => plannedTask(name)), plannedTask("last", names)]);
  expect(story.task("last").wait?.detail).toMatch(/^needs s\/t0, s\/t1, .*, s\/t19 and 10 more$/);
});

describe("what is always executed", () => {
  const tasks = [plannedTask("a"), plannedTask("b", ["a"]), plannedTask("tidy", ["a", "b"], { always: true })];

  it("begins when all it needs has ended, however that ended, and not before", () => {
    const story = startStory([...tasks, plannedTask("c")]);
    story.do(exit("a", 1));
    expect(story.task("b").status).toBe(TaskStatus.SKIPPED);
    expect(story.task("tidy").wait?.cause).toBe(WaitCause.PREPARING);
    story.do(exit("tidy"));
    story.do(exit("c"));
    expect(story.state.status).toBe(RunStatus.FAILED);
  });

  it("outlives a cancellation, begins after it, and ends with the second one", () => {
    const story = startStory(tasks);
    story.do(submit("a"));
    story.do(start("a"));
    story.do({ kind: "cancel", reason: "enough" });
    expect(story.statuses()).toEqual(["running", "cancelled", "waiting"]);
    story.do(end("a", EndingKind.CANCELLED));
    expect(story.task("tidy").wait?.cause).toBe(WaitCause.PREPARING);
    story.do(submit("tidy"));
    story.do({ kind: "cancel", reason: "really" });
    expect(story.state).toMatchObject({ cancels: 2, status: RunStatus.RUNNING });
    expect(story.do({ kind: "cancel", reason: "once more" })).toEqual([]);
    story.do(end("tidy", EndingKind.CANCELLED));
    expect(story.state.status).toBe(RunStatus.CANCELLED);
  });

  it("has an hour after the cancellation and no longer", () => {
    const story = startStory(tasks);
    story.do({ kind: "cancel", reason: "enough" }, 5_000);
    const due = dueOf(story.state, story.task("tidy"));
    expect(due).toMatchObject({ atMs: 5_000 + limits.alwaysAfterCancelMs, command: { kind: "cancel-overdue" } });
    expect(story.do({ kind: "cancel-overdue" }, (due?.atMs ?? 0) - 1)).toEqual([]);
    story.do({ kind: "cancel-overdue" }, due?.atMs);
    expect(story.state.status).toBe(RunStatus.CANCELLED);
    expect(story.task("tidy").outcome?.ending?.detail).toMatch(/has not ended within 1h after: enough$/);
  });

  it("lets a second word about a run without such a task change nothing", () => {
    const story = startStory([plannedTask("a")]);
    story.do(submit("a"));
    story.do({ kind: "cancel", reason: "enough" });
    expect(story.do({ kind: "cancel", reason: "again" })).toEqual([]);
  });
});

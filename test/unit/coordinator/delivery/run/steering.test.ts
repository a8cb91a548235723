import { describe, expect, it } from "vitest";
import type { Principal } from "../../../../../coordinator/delivery/access/principal.ts";
import { requireInputs } from "../../../../../coordinator/delivery/run/require-inputs.ts";
import type { RunCommand } from "../../../../../coordinator/delivery/run/run-command.ts";
import { runView } from "../../../../../coordinator/delivery/run/run-view.ts";
import { EndingKind, RunStatus, TaskStatus, WaitCause } from "../../../../../proto/gen/millrace/v1/event_pb.ts";
import { memoryCas } from "../../../../../shared/cas/memory-cas.ts";
import { digestToMessage } from "../../../../../shared/digest.ts";
import { limits } from "../../../../../shared/limits.ts";
import { textBlob } from "../../../../support/blobs.ts";
import { end, exit, plannedTask, type Story, start, startStory, submit } from "../../../../support/story.ts";

const anna: Principal = { name: "token:anna", role: "developer" };
const admin: Principal = { name: "token:admin", role: "admin" };
const reopen = (more: Partial<Extract<RunCommand, { kind: "reopen" }>> = {}): RunCommand => {
  return { kind: "reopen", tasks: [], avoidAgents: [], avoidLastAgent: false, bypassCache: false, ...more };
};
const skip = (task: string, by = anna, reason = ""): RunCommand => ({ kind: "skip", task, reason, by });

describe("a paused run", () => {
  it("begins nothing, lets what runs go on, and goes on where it was when it is resumed", () => {
    const story = startStory([plannedTask("a"), plannedTask("b"), plannedTask("c", ["a"]), plannedTask("d")]);
    story.do(submit("a"));
    story.do(start("a"));
    story.do(submit("b"));
    story.do({ kind: "pause", reason: "lunch" });
    expect(story.causes()).toEqual([undefined, "placing", "needs", "paused"]);
    story.do({ kind: "hold-back", task: "s/b" });
    expect(story.task("b")).toMatchObject({ status: TaskStatus.WAITING, round: 2, try: 1, executionId: "" });
    expect(story.task("b").wait?.detail).toBe("token:anna paused the run: lunch");
    story.do(exit("a"));
    expect(story.causes()).toEqual([undefined, "paused", "paused", "paused"]);
    for (const late of [submit("d"), { kind: "wait", task: "s/d", cause: WaitCause.NO_AGENT_MATCHES, detail: "" }]) {
      expect(story.do(late as RunCommand)).toEqual([]);
    }
    expect(runView(story.state).pause).toMatchObject({ reason: "lunch", principal: "token:anna" });
    expect(story.do({ kind: "pause", reason: "again" })).toEqual([]);

    story.do({ kind: "resume" });
    expect(story.causes()).toEqual([undefined, "preparing", "preparing", "preparing"]);
    expect(story.do({ kind: "resume" })).toEqual([]);
    expect(runView(story.state).pause).toBeUndefined();
  });

  it("is not held up by what was taken back when it is resumed or cancelled meanwhile", () => {
    const resumed = startStory([plannedTask("a")]);
    resumed.do(submit("a"));
    resumed.do({ kind: "pause", reason: "" });
    resumed.do({ kind: "resume" });
    resumed.do({ kind: "hold-back", task: "s/a" });
    expect(resumed.task("a").wait?.cause).toBe(WaitCause.PREPARING);
    const cancelled = startStory([plannedTask("a")]);
    cancelled.do(submit("a"));
    cancelled.do({ kind: "pause", reason: "" });
    cancelled.do({ kind: "cancel", reason: "enough" });
    cancelled.do({ kind: "hold-back", task: "s/a" });
    expect(cancelled.state.status).toBe(RunStatus.CANCELLED);
  });

  it("that is cancelled executes what always is", () => {
    const story = startStory([plannedTask("a"), plannedTask("tidy", ["a"], { always: true })]);
    story.do({ kind: "pause", reason: "" });
    story.do({ kind: "cancel", reason: "enough" });
    expect(story.task("tidy").wait?.cause).toBe(WaitCause.PREPARING);
    expect(() => story.do({ kind: "pause", reason: "" })).toThrow(/is being cancelled/);
  });

  it("opens no gate, and tries nothing again before it goes on", () => {
    const gate = plannedTask("gate", ["a"], { gate: { title: "Look" } });
    const story = startStory([plannedTask("a"), gate, plannedTask("t", [], { retry: { retries: 1 } })]);
    story.do(exit("t", 1));
    story.do({ kind: "pause", reason: "" });
    story.do(exit("a"));
    expect(story.causes()).toEqual([undefined, "paused", "retry-delay"]);
    story.do({ kind: "retry-due", task: "s/t" }, 100_000);
    expect(story.causes()).toEqual([undefined, "paused", "paused"]);
    expect(story.task("t").notBefore).toBeUndefined();
    story.do({ kind: "resume" });
    expect(story.causes()).toEqual([undefined, "gate", "preparing"]);
  });

  it("is not paused any more when it has finished", () => {
    const story = startStory([plannedTask("a")]);
    story.do(submit("a"));
    story.do({ kind: "pause", reason: "" });
    story.do(exit("a"));
    expect(story.state).toMatchObject({ status: RunStatus.SUCCEEDED, pause: undefined });
    expect(() => story.do({ kind: "pause", reason: "" })).toThrow(/has finished/);
    expect(() => story.do({ kind: "resume" })).toThrow(/has finished: there is nothing to resume/);
  });
});

describe("skipping", () => {
  it("leaves a task out that no agent has, and what needs it goes on", () => {
    const story = startStory([plannedTask("a"), plannedTask("b", ["a"]), plannedTask("c", ["b"])]);
    story.do(skip("b", anna, "flaky today"));
    expect(story.task("b")).toMatchObject({
      status: TaskStatus.SKIPPED,
      skipReason: "skipped by token:anna: flaky today",
    });
    story.do(exit("a"));
    expect(story.task("c").wait?.cause).toBe(WaitCause.PREPARING);
    story.do(submit("c"));
    story.do(skip("s/c"));
    expect(story.state.status).toBe(RunStatus.SUCCEEDED);
  });

  it("is refused of what runs or has ended, and of what is not there", () => {
    const story = startStory([plannedTask("a"), plannedTask("b")]);
    story.do(submit("a"));
    story.do(start("a", "agent-1"));
    expect(() => story.do(skip("a"))).toThrow(/s\/a of run_1 runs on agent-1/);
    story.do(exit("a"));
    expect(() => story.do(skip("a"))).toThrow(/has ended/);
    expect(() => story.do(skip("x"))).toThrow(/run_1 has no task "x"/);
  });

  it("of a task with variants leaves out all that no agent has, unless one is named", () => {
    const variants = ["unit-1", "unit-2", "unit-3", "unit-4"].map((name) =>
      plannedTask(name, [], { madeFrom: "s/unit" }),
    );
    const needsAll = variants.map(({ name }) => name);
    const story = startStory([...variants, plannedTask("after", needsAll)]);
    story.do(skip("s/unit-1"));
    expect(story.statuses()).toEqual(["skipped", "waiting", "waiting", "waiting", "waiting"]);
    story.do(submit("unit-2"));
    story.do(start("unit-2", "agent-1"));
    story.do(skip("unit"));
    expect(story.statuses()).toEqual(["skipped", "running", "skipped", "skipped", "waiting"]);
    expect(() => story.do(skip("unit"))).toThrow(/s\/unit-2 of run_1 runs on agent-1/);
    story.do(exit("unit-2"));
    expect(story.causes()[4]).toBe("preparing");
    expect(() => story.do(skip("unit"))).toThrow(/unit of run_1 has ended/);
  });

  it("a gate is for operators and admins alone", () => {
    const story = startStory([plannedTask("gate", [], { gate: { title: "Look" } }), plannedTask("b", ["gate"])]);
    expect(() => story.do(skip("gate"))).toThrow(/token:anna may not skip the gate s\/gate/);
    story.do(skip("gate", admin));
    expect(story.task("b").wait?.cause).toBe(WaitCause.PREPARING);
  });
});

describe("comments", () => {
  it("are kept in order with who said them, of a finished run, too, and are bounded", () => {
    const story = startStory([plannedTask("a")]);
    story.do({ kind: "comment", task: "a", text: "slow" }, 2_000);
    story.do(exit("a"));
    story.do({ kind: "comment", task: "", text: "shipped" }, 3_000);
    expect(runView(story.state).comments).toMatchObject([
      { task: "s/a", text: "slow", principal: "token:anna", time: { seconds: 2n } },
      { task: "", text: "shipped" },
    ]);
    expect(story.state.status).toBe(RunStatus.SUCCEEDED);
    for (const text of ["", " \n", "x".repeat(limits.commentChars + 1)]) {
      expect(() => story.do({ kind: "comment", task: "", text })).toThrow(/a comment has at/);
    }
    for (let n = story.state.comments.length; n < limits.runComments; n += 1) {
      story.do({ kind: "comment", task: "", text: "x" });
    }
    expect(() => story.do({ kind: "comment", task: "", text: "x" })).toThrow(/no more are taken/);
  });

  it("about a task with variants are about one of them, and who says which not hears their names", () => {
    const variants = ["unit-1", "unit-2"].map((name) => plannedTask(name, [], { madeFrom: "s/unit" }));
    const story = startStory(variants);
    story.do({ kind: "comment", task: "unit-2", text: "slow" });
    expect(story.state.comments).toMatchObject([{ task: "s/unit-2" }]);
    const vague = { kind: "comment", task: "unit", text: "slow" } as const;
    expect(() => story.do(vague)).toThrow('"unit" may be any of s/unit-1, s/unit-2: say which');
  });
});

describe("a re-run", () => {
  /** A chain of ten whose ninth fails, beside a sibling that goes on. */
  function chain(): Story {
    const names = Array.from({ length: 10 }, (_, n) => `t${n + 1}`);
    const story = startStory([
      ...names.map((name, n) => plannedTask(name, n === 0 ? [] : [`t${n}`])),
      plannedTask("sibling"),
    ]);
    story.do(submit("sibling"));
    story.do(start("sibling"));
    for (const name of names.slice(0, 9)) {
      story.do(submit(name));
      story.do(start(name, "agent-1"));
      story.do(exit(name, name === "t9" ? 1 : 0));
    }
    return story;
  }

  it("of what failed opens it and what needs it, and nothing else, while siblings still run", () => {
    const story = chain();
    const events = story.do(reopen({ avoidLastAgent: true, bypassCache: true }));
    expect(events.map(({ kind }) => kind.case)).toEqual([
      "tasksReopened",
      "tasksReopened",
      "taskWaiting",
      "taskWaiting",
    ]);
    expect(events[0]?.kind.value).toMatchObject({
      tasks: ["s/t9"],
      named: ["s/t9"],
      avoidAgents: ["agent-1"],
      bypassCache: true,
    });
    expect(events[1]?.kind.value).toMatchObject({ tasks: ["s/t10"], named: [], avoidAgents: [] });
    expect(story.statuses()).toEqual([...Array<string>(8).fill("succeeded"), "waiting", "waiting", "running"]);
    expect(story.task("t9")).toMatchObject({ try: 2, round: 2, avoidAgents: ["agent-1"], bypassCache: true });
    expect(story.task("t10")).toMatchObject({ try: 1, round: 2, avoidAgents: [], bypassCache: false });
    expect(runView(story.state).tasks[8]?.tries).toMatchObject([{ try: 1, agent: "agent-1", ending: { exitCode: 1 } }]);
    story.do(submit("t9", 2));
    story.do(exit("t9"));
    story.do(submit("t10", 2));
    story.do(exit("t10"));
    story.do(exit("sibling"));
    expect(story.state.status).toBe(RunStatus.SUCCEEDED);
  });

  it("of a task with variants opens all of them, unless one is named", () => {
    const variants = ["unit-1", "unit-2"].map((name) => plannedTask(name, [], { madeFrom: "s/unit" }));
    const story = startStory([...variants, plannedTask("lint")]);
    for (const name of ["unit-1", "unit-2", "lint"]) story.do(exit(name));
    story.do(reopen({ tasks: ["unit"] }));
    expect(story.statuses()).toEqual(["waiting", "waiting", "succeeded"]);
    for (const name of ["unit-1", "unit-2"]) story.do(exit(name));
    story.do(reopen({ tasks: ["s/unit-2"] }));
    expect(story.statuses()).toEqual(["succeeded", "waiting", "succeeded"]);
    expect(() => story.do(reopen({ tasks: ["uni"] }))).toThrow('no task "uni"');
  });

  it("of a finished run lets it go on and finish once more", () => {
    const story = chain();
    story.do(exit("sibling"));
    expect(story.state.status).toBe(RunStatus.FAILED);
    story.do(reopen(), 9_000);
    expect(story.state).toMatchObject({ status: RunStatus.RUNNING, open: 2, finishTime: undefined });
    story.do(exit("t9"));
    story.do(exit("t10"), 10_000);
    expect(story.state).toMatchObject({ status: RunStatus.SUCCEEDED, finishTime: { seconds: 10n } });
    expect(story.events.filter(({ kind }) => kind.case === "runFinished")).toHaveLength(2);
  });

  it("from a task that succeeded opens all that needs it, and makes void what was decided at a gate behind it", () => {
    const story = startStory([
      plannedTask("a"),
      plannedTask("gate", ["a"], { gate: { title: "Look" } }),
      plannedTask("b", ["gate"]),
      plannedTask("other"),
    ]);
    story.do(exit("a"));
    const binding = runView(story.state).tasks[1]?.gate?.binding?.hash ?? "";
    const said = { decision: 1, comment: "", fields: {}, checked: [] } as const;
    const word = { kind: "decide-gate", stage: "s", ...said, binding, by: anna } as const;
    story.do(word);
    story.do(exit("b"));
    story.do(exit("other"));
    story.do(reopen({ tasks: ["a"] }));
    expect(story.statuses()).toEqual(["waiting", "waiting", "waiting", "succeeded"]);
    expect(runView(story.state).tasks[1]?.gate?.decided).toBeUndefined();
    expect(() => story.do(word)).toThrow(/is not open yet/);
    story.do(exit("a"));
    expect(story.causes()).toEqual([undefined, "gate", "needs", undefined]);
  });

  it("is refused of what has not ended, of what needs it and runs, of nothing, and in a run that is being cancelled", () => {
    const story = startStory([plannedTask("a"), plannedTask("b", ["a"]), plannedTask("tidy", ["a"], { always: true })]);
    expect(() => story.do(reopen())).toThrow(/no task that failed or was cancelled/);
    expect(() => story.do(reopen({ tasks: ["a"] }))).toThrow(/has not ended: it is waiting/);
    story.do(exit("a", 1));
    story.do(submit("tidy"));
    expect(() => story.do(reopen())).toThrow(/cannot open what s\/tidy needs while that is queued/);
    story.do({ kind: "cancel", reason: "enough" });
    expect(() => story.do(reopen())).toThrow(/is being cancelled/);
    story.do(exit("tidy"));
    story.do(reopen());
    expect(story.state).toMatchObject({ status: RunStatus.RUNNING, cancelReason: undefined, cancels: 0 });
    expect(story.statuses()).toEqual(["waiting", "waiting", "waiting"]);
  });

  it("gives each task the agents of its own to avoid, and its tries anew", () => {
    const retry = { retries: 1 };
    const story = startStory([
      plannedTask("a", [], { retry }),
      plannedTask("b"),
      plannedTask("c", [], { allowFailure: true }),
    ]);
    for (const [name, agent] of [
      ["a", "one"],
      ["b", "two"],
      ["c", "one"],
    ] as const) {
      story.do(submit(name));
      story.do(start(name, agent));
      story.do(exit(name, 1));
    }
    story.do({ kind: "retry-due", task: "s/a" }, 100_000);
    story.do(submit("a", 2));
    story.do(start("a", "three"));
    story.do(exit("a", 1));
    story.do(reopen({ avoidLastAgent: true, avoidAgents: ["zero"] }));
    expect(story.task("a")).toMatchObject({ avoidAgents: ["three", "zero"], retries: 0, try: 3 });
    expect(story.task("b").avoidAgents).toEqual(["two", "zero"]);
    expect(story.task("c").status).toBe(TaskStatus.FAILED); // its failure was allowed: it is not one to mend
    story.do(end("b", EndingKind.CANCELLED));
    expect(story.task("a").wait?.cause).toBe(WaitCause.PREPARING);
  });

  it("is bounded: a task that was tried too often needs a new run", () => {
    const story = startStory([plannedTask("a"), plannedTask("b")]);
    for (let n = 1; n < limits.taskTriesMax; n += 1) {
      story.do(exit("a", 1));
      story.do(reopen());
    }
    story.do(exit("a", 1));
    expect(() => story.do(reopen())).toThrow(/was tried 100 times/);
    expect(story.task("a").tries).toHaveLength(limits.taskTriesKept);
  });

  it("of a finished run is refused when what its tasks were planned with is gone, as far as it is needed", async () => {
    const cas = memoryCas();
    const [kept, gone] = [textBlob("kept"), textBlob("gone")];
    await cas.writeMany([kept]);
    const made = (blob: typeof kept) => ({ commandDigest: digestToMessage(blob.digest) });
    const story = startStory([plannedTask("a", [], made(gone)), plannedTask("b", [], made(kept))]);
    story.do(exit("a"));
    story.do(exit("b", 1));
    const wanted = { kind: "reopen", tasks: [], avoidAgents: [], avoidLastAgent: false, bypassCache: false } as const;
    await requireInputs(cas, story.state, wanted);
    await expect(requireInputs(cas, story.state, { ...wanted, tasks: ["a"] })).rejects.toThrow(
      "run_1 cannot be executed once more: 1 tree, command or artifact of its tasks cannot be found in the store any more; start a new run",
    );
  });

  it("of a finished run is refused when an artifact is gone that is used and not made again", async () => {
    const cas = memoryCas();
    const bytes = textBlob("made by a");
    const uses = [{ task: "s/a", artifact: "bytes" }] as never;
    const story = startStory([plannedTask("a"), plannedTask("b", ["a"], { uses })]);
    const content = { case: "file", value: digestToMessage(bytes.digest) } as const;
    const outcome = { status: TaskStatus.SUCCEEDED, artifacts: [{ name: "bytes", task: "s/a", content }] };
    story.do({ kind: "finish", task: "s/a", outcome });
    story.do(exit("b", 1));
    const wanted = { kind: "reopen", tasks: [], avoidAgents: [], avoidLastAgent: false, bypassCache: false } as const;
    await requireInputs(cas, story.state, { ...wanted, tasks: ["a"] });
    await expect(requireInputs(cas, story.state, wanted)).rejects.toThrow("1 tree, command or artifact");
    await cas.writeMany([bytes]);
    await requireInputs(cas, story.state, wanted);
  });
});

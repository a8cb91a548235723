import { create, type MessageInitShape } from "@bufbuild/protobuf";
import pc from "picocolors";
import { describe, expect, it } from "vitest";
import { runView } from "../../../../cli/follow/run-view.ts";
import type { Console } from "../../../../cli/output/console.ts";
import { EndingKind, EventSchema, TaskStatus, WaitCause } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { ReadLogResponseSchema } from "../../../../proto/gen/millrace/v1/log_pb.ts";

function recordingConsole(): Console & { text(): string } {
  let text = "";
  return {
    colors: pc.createColors(false),
    interactive: false,
    columns: () => 80,
    async write(more) {
      text += typeof more === "string" ? more : Buffer.from(more).toString();
    },
    async writeJson() {},
    note() {},
    text: () => text,
  };
}

type Kind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;
const event = (kind: Kind) => create(EventSchema, { kind });
const output = (task: string, text: string) =>
  create(ReadLogResponseSchema, { task, attempt: 1, data: Buffer.from(text) });
const endOfOutput = (task: string) => create(ReadLogResponseSchema, { task, attempt: 1, finish: true });

describe("a run on the screen", () => {
  it("says how a task ended after its last line, although the end is known earlier", async () => {
    const console = recordingConsole();
    const view = runView(console);
    await view.event(event({ case: "taskStarted", value: { task: "build/app", agent: "agent-1", attempt: 1 } }));
    await view.output(output("build/app", "one\ntw"));
    const ending = { kind: EndingKind.EXITED, exitCode: 3 };
    const value = { task: "build/app", status: TaskStatus.FAILED, ending, duration: { seconds: 2n } };
    await view.event(event({ case: "taskFinished", value }));
    await view.output(output("build/app", "o\nrest"));
    await view.output(endOfOutput("build/app"));
    await view.close();
    expect(console.text().split("\n")).toEqual([
      "build/app │ started on agent-1",
      "build/app │ one",
      "build/app │ two",
      "build/app │ rest",
      "build/app │ failed: exited with 3 in 2.0 s",
      "",
    ]);
  });

  it("shows the gap of a lost attempt, and waits for the output of the one that counted", async () => {
    const console = recordingConsole();
    const view = runView(console);
    const started = (attempt: number) => event({ case: "taskStarted", value: { task: "a/b", agent: "x", attempt } });
    const said = (attempt: number, text: string) =>
      create(ReadLogResponseSchema, { task: "a/b", attempt, data: Buffer.from(text) });
    await view.event(started(1));
    await view.output(said(1, "one\ntw"));
    await view.event(started(2));
    await view.output(create(ReadLogResponseSchema, { task: "a/b", attempt: 1, finish: true, gap: true }));
    await view.event(event({ case: "taskFinished", value: { task: "a/b", status: TaskStatus.SUCCEEDED } }));
    await view.output(said(2, "one\ntwo\n"));
    await view.output(create(ReadLogResponseSchema, { task: "a/b", attempt: 2, finish: true }));
    await view.close();
    expect(console.text().split("\n")).toEqual([
      "a/b │ started on x",
      "a/b │ one",
      "a/b │ started on x, attempt 2",
      "a/b │ tw",
      "a/b │ millrace: the agent was lost here; output may be missing",
      "a/b │ one",
      "a/b │ two",
      "a/b │ succeeded",
      "",
    ]);
  });

  it("says how long a task took where its reason begins, of however many lines that is", async () => {
    const console = recordingConsole();
    const view = runView(console);
    const ending = { kind: EndingKind.OUTPUT_MISSING, detail: "it wrote wrong tasks:\n  tasks.yaml:1:1: no" };
    const value = { task: "a/b", status: TaskStatus.FAILED, ending, duration: { seconds: 2n } };
    await view.event(event({ case: "taskFinished", value }));
    await view.close();
    expect(console.text()).toMatch(/^a\/b │ failed: .*wrote wrong tasks in 2\.0 s:\n {4}tasks\.yaml:1:1: no\n$/);
  });

  it("loses no ending when the end of the output never comes", async () => {
    const console = recordingConsole();
    const view = runView(console);
    await view.output(output("a/b", "half a li"));
    await view.event(
      event({ case: "taskFinished", value: { task: "a/b", status: TaskStatus.SUCCEEDED, cached: true } }),
    );
    await view.close();
    expect(console.text()).toBe("a/b │ half a li\na/b │ succeeded from the cache\n");
  });

  it("mentions only waits that a person can do something about", async () => {
    const console = recordingConsole();
    const view = runView(console);
    const wait = (cause: WaitCause, detail: string) =>
      event({ case: "taskWaiting", value: { task: "a/b", wait: { cause, detail } } });
    await view.event(wait(WaitCause.NEEDS, "x"));
    await view.event(wait(WaitCause.NO_AGENT_MATCHES, "wants gpu=yes"));
    expect(console.text()).toBe("a/b │ waits: no agent matches: wants gpu=yes\n");
  });

  it("lets what people say over several lines pass for no line of its own, nor for an order to the terminal", async () => {
    const console = recordingConsole();
    const view = runView(console);
    const reason = "first\na/b │ succeeded\u001b[2J";
    const by = (kind: Kind) => view.event(create(EventSchema, { kind, principal: "token:anna" }));
    await by({ case: "runPaused", value: { reason } });
    await by({ case: "runCommented", value: { text: reason } });
    await by({ case: "runCancelRequested", value: { reason } });
    await by({ case: "taskSkipped", value: { task: "a/b", reason } });
    await by({ case: "gateDecided", value: { task: "a/b", comment: reason } });
    await by({
      case: "taskFinished",
      value: { task: "a/b", status: TaskStatus.CANCELLED, ending: { detail: reason } },
    });
    await view.close();
    expect(console.text().match(/^  a\/b │ succeeded$/gm)).toHaveLength(6);
    expect(console.text()).not.toMatch(/^a\/b │ succeeded|\u001b/m);
  });

  it("keeps the tries of a task apart, each with its own output, and tells who steered the run", async () => {
    const console = recordingConsole();
    const view = runView(console);
    const by = (kind: Kind) => create(EventSchema, { kind, principal: "token:anna" });
    const started = (number: number) =>
      event({ case: "taskStarted", value: { task: "a/b", agent: "x", attempt: 1, try: number } });
    const said = (number: number, text: string) =>
      create(ReadLogResponseSchema, { task: "a/b", try: number, attempt: 1, data: Buffer.from(text) });
    const ended = (number: number) =>
      create(ReadLogResponseSchema, { task: "a/b", try: number, attempt: 1, finish: true });
    await view.event(started(1));
    await view.output(said(1, "one\n"));
    const ending = { kind: EndingKind.EXITED, exitCode: 75 };
    await view.event(event({ case: "taskRetried", value: { task: "a/b", ending, try: 2 } }));
    await view.event(by({ case: "runPaused", value: { reason: "lunch" } }));
    await view.event(by({ case: "runResumed", value: {} }));
    await view.event(started(2));
    await view.event(event({ case: "taskFinished", value: { task: "a/b", status: TaskStatus.SUCCEEDED, try: 2 } }));
    await view.output(ended(1)); // the end of the output of the try before is not the end of this one's
    await view.output(said(2, "two\n"));
    await view.output(ended(2));
    await view.event(by({ case: "tasksReopened", value: { tasks: ["a/b"], named: ["a/b"] } }));
    await view.event(by({ case: "runCommented", value: { task: "a/b", text: "flaky" } }));
    await view.close();
    expect(
      console
        .text()
        .split("\n")
        .map((line) => line.replace("a/b │ ", "")),
    ).toEqual([
      "started on x",
      "one",
      "exited with 75; try 2 follows",
      "paused by token:anna: lunch",
      "resumed by token:anna",
      "started on x, try 2",
      "two",
      "succeeded",
      "once more, asked for by token:anna: a/b",
      "token:anna on a/b: flaky",
      "",
    ]);
  });
});

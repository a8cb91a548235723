import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { conclusion, type Executor, type ReadTask } from "../../../agent/executor/executor.ts";
import { toolCheckingExecutor } from "../../../agent/executor/tool-checking-executor.ts";
import { outermost, outOfSight } from "../../../agent/runner/folders.ts";
import { ActionSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";

const properties = [
  { name: "os", value: "linux" },
  { name: "tool:node", value: "24.1.0@a" },
];
const task = { action: create(ActionSchema, { platform: { properties } }) } as ReadTask;
const { signal } = new AbortController();

/** Tools that are replaced after so many looks. */
const replacedAfter = (looks: number) => ({
  isCurrent: (name: string, fingerprint: string) => {
    expect([name, fingerprint]).toEqual(["node", "24.1.0@a"]);
    return looks-- > 0;
  },
});
let runs = 0;
const base: Executor<ReadTask> = {
  async execute() {
    runs += 1;
    return conclusion({ kind: EndingKind.EXITED, exitCode: 0 });
  },
};

test("a task whose tool was replaced before it began is not run", async () => {
  await expect(toolCheckingExecutor(base, replacedAfter(0)).execute(task, signal)).rejects.toThrow(
    "node 24.1.0@a, which the task asks for, was replaced before it began",
  );
  expect(runs).toBe(0);
});

test("a task whose tool was replaced while it ran has no result", async () => {
  await expect(toolCheckingExecutor(base, replacedAfter(1)).execute(task, signal)).rejects.toMatchObject({
    code: "unavailable",
  });
});

test("a task whose tools stayed has its result", async () => {
  const done = await toolCheckingExecutor(base, replacedAfter(2)).execute(task, signal);
  expect(done.ending.kind).toBe(EndingKind.EXITED);
});

test("folders within hidden ones are hidden once, and the readable ones among them are known", () => {
  expect(outermost(["/a/b", "/a", "/ab", "/a/b/c", "/a"])).toEqual(["/a", "/ab"]);
  expect(outOfSight(["/usr/bin", "/tmp/node/bin", "/a/tools", "/ab/tools"], ["/a"])).toEqual([
    "/tmp/node/bin",
    "/a/tools",
  ]);
});

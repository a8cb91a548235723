import { existsSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { type Assignment, Stopped, taskTime } from "../../../agent/executor/executor.ts";
import { loggingExecutor } from "../../../agent/executor/logging-executor.ts";
import { EpochSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { digestOf } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

test.each([
  ["while the agent goes on is ended", false],
  ["with the agent stays for its next start", true],
])("the log of a host operation that throws %s", async (_how, ends) => {
  const folder = tempDir();
  const stop = new AbortController();
  const calls: string[] = [];
  const log = {
    seal: async () => void calls.push("seal"),
    finish: async () => {
      calls.push("finish");
      return 0;
    },
  };
  const execute = async () => {
    if (ends) stop.abort(new Stopped(EndingKind.INFRASTRUCTURE, "the agent ends", 0));
    throw new MillraceError("failed_precondition", "it came late");
  };
  const executor = loggingExecutor(
    { execute },
    {
      logs: { open: async () => log },
      farm: { findMissing: async () => [], write: async () => {}, writeMany: async () => {} },
      ...{ folder, durable: { onRefused: () => undefined }, ending: new AbortController().signal },
      patiently: async (_signal, _doing, work) => await work(),
    },
  );
  const task: Assignment = {
    ...{ executionId: "exe_1", attempt: 1, epoch: create(EpochSchema), actionDigest: digestOf(Buffer.from("")) },
    ...{ blobs: [], volatileEnvironment: {}, time: taskTime(fakeClock()) },
  };
  await expect(executor.execute(task, stop.signal)).rejects.toThrow("it came late");
  expect(calls).toEqual(ends ? [] : ["seal", "finish"]);
  expect(existsSync(join(folder, "exe_1.1"))).toBe(true);
});

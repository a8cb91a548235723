import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import type { LaidOutTask } from "../../../agent/executor/executor.ts";
import { openRunner } from "../../../agent/runner/runner.ts";
import { runShell } from "../../../agent/shell/shell-process.ts";
import { ActionSchema, CommandSchema } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { systemClock } from "../../../shared/clock.ts";
import { isRunning } from "../../support/process-state.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** Runs a script in a shell of a real runner, which may print so much. */
async function shellOf(script: string, outputMaxBytes: number) {
  const data = tempDir();
  const at = (name: string) => join(data, name);
  for (const name of ["root", "home", "tmp", "spools"]) mkdirSync(at(name));
  const runner = await openRunner({
    name: `millrace-test-${process.pid}-shell`,
    stateFile: at("containment"),
    startsFile: at("process-starts.log"),
    namespace: [],
    containment: [],
    clock: systemClock,
  });
  onTestFinished(() => runner.close());
  const root = { path: at("root"), home: at("home"), temporary: at("tmp") };
  const command = create(CommandSchema, { arguments: ["true"] });
  const task = { root, action: create(ActionSchema), command, volatileEnvironment: {} } as unknown as LaidOutTask;
  let printed = "";
  async function* input() {
    yield { case: "input", value: Buffer.from(script) } as const;
  }
  const shell = runShell(
    { task, offer: { shellId: "one" }, isMounted: true },
    { input: input(), output: async (data) => void (printed += Buffer.from(data).toString("latin1")) },
    new AbortController().signal,
    {
      ...{ runner, sandbox: "none", path: "/usr/bin:/bin", readable: [], hidden: [], nesting: 0, cutsNetwork: false },
      ...{ spools: at("spools"), outputMaxBytes },
    },
  );
  return { shell, printed: () => printed, spool: at("spools/one") };
}

test("a shell that prints more than may go through is ended, with what it has started, saying the bound and the way out", async () => {
  const { shell, printed, spool } = await shellOf("sleep 3600 & echo $! $$; cat /dev/zero\n", 1024 * 1024);
  await expect(shell).rejects.toThrow(
    "it printed more than 1 MiB, which is the most, and was ended with all that it had started: write to a file there",
  );
  expect(printed().length).toBeLessThanOrEqual(1024 * 1024);
  const pids = printed().split("\n")[0]?.split(" ").map(Number) ?? [];
  expect(pids.map(isRunning)).toEqual([false, false]);
  expect(existsSync(spool)).toBe(false);
});

test("a shell that prints as much as may go through gives all of it, and its exit status", async () => {
  const { shell, printed } = await shellOf("head -c 1048576 /dev/zero; exit 3\n", 1024 * 1024);
  expect(await shell).toBe(3);
  expect(printed().length).toBe(1024 * 1024);
});

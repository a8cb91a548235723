import { spawn } from "node:child_process";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { diskWatchingExecutor } from "../../../agent/executor/disk-watching-executor.ts";
import { conclusion, type Executor } from "../../../agent/executor/executor.ts";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { systemClock } from "../../../shared/clock.ts";
import { exitOf } from "../../support/exit-of.ts";
import { mebibyte, noMounts } from "../../support/full-disk.ts";
import { mountSmallDisk } from "../../support/small-disk.ts";

/** Full within some 50 ms, and with room to spare before and after: looks every 500 ms see nothing of it. */
const diskBytes = 128 * mebibyte;
const fill = "dd if=/dev/zero of=temporary bs=64k 2>/dev/null";

/** How a script ends that runs in the root of a disk of its own. */
async function endingOf(script: string, skip: TestContext["skip"]) {
  const disk = mountSmallDisk(diskBytes) ?? skip(noMounts);
  onTestFinished(() => disk.remove());
  const shell: Executor<string> = {
    async execute(task) {
      const [exitCode] = await exitOf(spawn("/bin/sh", ["-c", task], { cwd: disk.dir, stdio: "ignore" }));
      return conclusion({ kind: EndingKind.EXITED, exitCode: exitCode ?? 0 });
    },
  };
  const own = { owner: "agent-1 on here", folder: disk.dir };
  const watched = diskWatchingExecutor(shell, { own, clock: systemClock });
  return (await watched.execute(script, new AbortController().signal)).ending;
}

test("a task that removes its temporary file as it fails for want of disk is the farm's failure", async ({ skip }) => {
  const { kind, detail } = await endingOf(`${fill}; rm temporary; exit 1`, skip);
  expect(detail).toMatch(/^it exited with 1: the disk of agent-1 on here /);
  expect(kind).toBe(EndingKind.INFRASTRUCTURE);
});

test("so is one that fails when others have filled the disk and freed it again", async ({ skip }) => {
  const { kind } = await endingOf(`${fill}; sleep 0.05; rm temporary; sleep 0.1; exit 3`, skip);
  expect(kind).toBe(EndingKind.INFRASTRUCTURE);
});

test("what a task says of a full disk where there is room is its own failure", async ({ skip }) => {
  const write = "dd if=/dev/zero of=temporary bs=1M count=64; rm temporary";
  const ending = await endingOf(`${write}; echo No space left on device >&2; exit 1`, skip);
  expect(ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 1, detail: "" });
});

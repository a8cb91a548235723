import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import type { StartMessage } from "../../../agent/runner/runner-protocol.ts";
import { exitOf } from "../../support/exit-of.ts";
import { tempDir } from "../../support/temp-dir.ts";

interface Launcher {
  readonly child: ChildProcess;
}

interface Launchers {
  become(launcher: Launcher, task: StartMessage): void;
  launchers(name: string, createGroup: () => object): { refill(): void; take(): Promise<Launcher> };
}

/** Plain JavaScript, as it runs in the runner process. */
const { become, launchers } = await vi.importActual<Launchers>("../../../agent/runner/launcher.mjs");

/** A group that holds nothing together; `take` is called with the process id. */
function group(take: (pid: number) => Promise<void> = () => Promise.resolve()) {
  return {
    environment: {},
    take,
    becomesSandbox() {},
    signal() {},
    empty: () => Promise.resolve(),
    killAll: () => Promise.resolve(),
    usage: () => ({ cpuMs: 0, peakMemoryBytes: 0, outOfMemory: false }),
    close: vi.fn<() => void>(),
  };
}

function task(workingFolder: string, spool: string, variables: Record<string, string>): StartMessage {
  const environment = { PATH: "/usr/bin:/bin", ...variables };
  const plan = { executionId: "", attempt: 1, arguments: ["env"], environment, workingFolder, spool };
  return { type: "start", id: "1", ...plan };
}

test("a launcher that ended on its way into its group is nobody's task", async () => {
  const dying = group(async (pid) => {
    process.kill(pid, "SIGKILL");
    // Its exit is told before this is over, as a slow kernel may have it.
    await vi.waitUntil(() => readStatus(pid) === undefined, { timeout: 10_000 });
  });
  const spares = launchers("test", () => dying);
  await expect(spares.take()).rejects.toThrow("a launcher ended while it was made");
  expect(dying.close).toHaveBeenCalledOnce();
});

test("a group that cannot be made fails the start and not the runner", async () => {
  let fails = true;
  const spares = launchers("test", () => {
    if (fails) throw new Error("no space for a group");
    return group();
  });
  expect(() => spares.refill()).not.toThrow();
  await expect(spares.take()).rejects.toThrow("no space for a group");
  fails = false;
  const { child } = await spares.take();
  child.stdin?.end();
  await exitOf(child);
});

test("a group goes with the launcher that ended in it", async () => {
  let pid = 0;
  const made = group(async (taken) => {
    pid = taken;
  });
  const spares = launchers("test", () => made);
  spares.refill();
  await vi.waitUntil(() => pid !== 0, { timeout: 10_000 });
  process.kill(pid, "SIGKILL");
  await vi.waitUntil(() => made.close.mock.calls.length > 0, { timeout: 10_000 });
});

test("nothing of a task runs where its folder is not", async () => {
  const folder = tempDir();
  const spool = join(folder, "spool");
  const launcher = await launchers("test", () => group()).take();
  become(launcher, task(join(folder, "none"), spool, { A: "1", B: "2" }));
  const [code] = await exitOf(launcher.child);
  expect(code).not.toBe(0);
  expect(readFileSync(spool, "utf8")).not.toContain("B=2");
});

test("variables that shells keep for themselves reach the task as they are", async () => {
  const folder = tempDir();
  const spool = join(folder, "spool");
  const launcher = await launchers("test", () => group()).take();
  become(launcher, task(folder, spool, { OPTIND: "later", UID: "none" }));
  expect(await exitOf(launcher.child)).toEqual([0, null]);
  expect(readFileSync(spool, "utf8").split("\n")).toEqual(expect.arrayContaining(["OPTIND=later", "UID=none"]));
});

test.each([
  ["bash", "--posix", "-s"],
  ["/bin/sh", "-s"],
])("with %s as the shell a task sees what it was given and no more", async (...shell) => {
  const folder = tempDir();
  const spool = join(folder, "spool");
  const [program = "", ...options] = shell;
  const child = spawn(program, options, { cwd: "/", env: {}, stdio: ["pipe", "pipe", "ignore"] });
  become({ child }, task(folder, spool, { A: "1" }));
  expect(await exitOf(child)).toEqual([0, null]);
  expect(readFileSync(spool, "utf8").trim().split("\n").sort()).toEqual(["A=1", "PATH=/usr/bin:/bin"]);
});

function readStatus(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/status`, "utf8");
  } catch {
    return undefined;
  }
}

import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdtempSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { exitOf } from "../support/exit-of.ts";
import { cliEnvironment, project, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { processesAbout } from "../support/process-state.ts";
import { millrace } from "../support/program.ts";

/** A machine without a program is one in which something else is mounted over it, which root may do. */
const mayMount = userInfo().uid === 0;
let farm: TestFarm;

beforeAll(async () => {
  farm = await startFarm({ agents: 2, slots: 1 });
});
afterAll(() => farm.remove());

/** Of one task that fails after it has written a file. */
function failing(): string {
  const run = "echo made by the task > made.txt; test -e nothing";
  return project({
    "millrace.yaml": `name: p\nstages:\n  a:\n    tasks:\n      b: { run: "${run}", inputs: [in.txt], env: { COLOUR: blue } }\n`,
    "in.txt": "an input\n",
  });
}

/** A run of it, the agent that had it, and another one. */
async function failedRun() {
  const { status, run, tasks } = await farm.run(failing());
  expect(status).toBe("failed");
  const agent = tasks[0]?.agent ?? "";
  return { run, agent, other: agent === "agent-1" ? "agent-2" : "agent-1" };
}

function start(args: readonly string[]): ChildProcessWithoutNullStreams {
  const env = cliEnvironment(join(farm.dataDir, ".."));
  return spawn(millrace, args, { env, stdio: ["pipe", "pipe", "pipe"] });
}

async function call(args: readonly string[], input: string) {
  const child = start(args);
  child.stdin.end(input);
  const [stdout, stderr, [status]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]);
  return { status: status as number | null, stdout, stderr };
}

/** A shell of a person at a terminal of 40 rows and 100 columns. */
function inTerminal(run: string) {
  const call = `stty rows 40 cols 100; exec '${millrace}' shell ${run} b`;
  const env = { ...cliEnvironment(join(farm.dataDir, "..")), TERM: "vt100" };
  const child = spawn("script", ["-qec", call, "/dev/null"], { env, stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  const heard = (words: RegExp) => vi.waitFor(() => expect(said).toMatch(words), { timeout: 30_000, interval: 50 });
  child.stdout.on("data", (data) => void (said += data));
  return { child, heard };
}

/** Processes and folders of shells and of what tasks left. */
function leftovers(): string[] {
  const folders = globSync("agents/*/{work,shells}/*", { cwd: farm.dataDir });
  return [...processesAbout("millrace-shell").map(({ command }) => command.slice(0, 60)), ...folders];
}

it("is where the failed process was, with its files, environment and script, and leaves nothing", async () => {
  const { run } = await failedRun();
  expect(leftovers().length).toBe(1); // what the task left
  const input = 'cat made.txt in.txt; echo "$COLOUR $MILLRACE_TASK"; cat "$MILLRACE_SCRIPT"; sleep 3600 & exit 7\n';
  const left = await call(["shell", run, "b"], input);
  expect(left.stdout).toMatch(
    /^made by the task\nan input\nblue b\n#!\/bin\/sh\nset -e\necho made .*; test -e nothing\n$/,
  );
  expect(left.stderr).toContain("as the task left them");
  expect(left.status).toBe(7);
  await vi.waitFor(() => expect(leftovers()).toEqual([]));

  expect((await farm.cli(["audit"])).stdout).toMatch(new RegExp(`OpenShell.*${run} b`));
  const anew = await call(["shell", run, "a/b"], "ls; pwd\n");
  expect(anew.stdout).toMatch(/^in\.txt\n\/.*\/root\n$/);
  expect(anew.stderr).toContain("laid out anew");
  expect(anew.status).toBe(0);
  await vi.waitFor(() => expect(leftovers()).toEqual([]));
});

it("follows a run that has failed, and leaves it its exit status", async () => {
  const { stdout, status } = await call(["run", failing(), "--shell-on-failure"], "cat made.txt; exit 0\n");
  expect(stdout).toMatch(/run_\d+ failed[^]*\nmade by the task\n$/);
  expect(status).toBe(1);
  await vi.waitFor(() => expect(leftovers()).toEqual([]));
});

it("has a terminal where the person has one, and follows its size", async () => {
  const { run } = await failedRun();
  const { child, heard } = inTerminal(run);
  await heard(/[#$]\S* $/);
  child.stdin.write("echo $((6 * 7)) $(stty size) $TERM; sleep 3600\r");
  await heard(/42 40 100 vt100/);
  child.stdin.write("\x03"); // Ctrl-C is for what runs in the shell
  await heard(/[#$]\S* $/);
  // Whatever is in the foreground is told, and has the size already.
  const watching = "sh -c \"trap 'stty size' WINCH; echo watching; while :; do sleep 3600 & wait; done\"\r";
  child.stdin.write(watching);
  await heard(/[\r\n]watching/);
  resize({ rows: 33, columns: 120 });
  await heard(/[\r\n]33 120/);
  child.stdin.write("\x03");
  await heard(/[#$]\S* $/);
  child.stdin.write("\x1a"); // at the prompt Ctrl-Z stops nothing, and not what follows the size
  child.stdin.write(watching.replace("watching", "once more"));
  await heard(/[\r\n]once more/);
  resize({ rows: 24, columns: 80 });
  await heard(/[\r\n]24 80/);
  child.stdin.write("\x03");
  await heard(/[#$]\S* $/);
  child.stdin.write("exit 5\r");
  const [status] = await exitOf(child);
  expect(status).toBe(5);
  await vi.waitFor(() => expect(leftovers()).toEqual([]));

  /** The person's window. */
  function resize({ rows, columns }: { readonly rows: number; readonly columns: number }): void {
    const [cli] = processesAbout(`shell ${run} b`).filter(({ command }) => !command.startsWith("script "));
    const terminal = readlinkSync(`/proc/${cli?.pid}/fd/0`);
    execFileSync("stty", ["-F", terminal, "rows", String(rows), "columns", String(columns)]);
  }
});

it("is opened on another agent, with the inputs laid out anew", async () => {
  const { run, agent, other } = await failedRun();
  const elsewhere = await call(["shell", run, "b", "--agent", other], 'ls; echo "$COLOUR"; cat "$MILLRACE_SCRIPT"\n');
  expect(elsewhere.stdout).toMatch(/^in\.txt\nblue\n#!\/bin\/sh\n/);
  expect(elsewhere.stderr).toContain(`shell on ${other}: the inputs were laid out anew`);
  expect(elsewhere.status).toBe(0);
  // What the task left is still there for who asks its own agent.
  const own = await call(["shell", run, "b", "--agent", agent], "ls\n");
  expect(own.stdout).toBe("in.txt\nmade.txt\n");
  expect(own.stderr).toContain(`shell on ${agent}: the files are as the task left them`);
  await vi.waitFor(() => expect(leftovers()).toEqual([]));
});

it("ends with its client, and says when there is nothing to open", async () => {
  const { run } = await failedRun();
  const child = start(["shell", run, "b"]);
  child.stdin.write("echo here; sleep 3600\n");
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await vi.waitFor(() => expect(leftovers()).toEqual([]), { timeout: 20_000 });

  const unknown = await call(["shell", run, "c"], "");
  expect(unknown.stderr).toContain(`${run} has no task "c"; it has a/b`);
  expect(unknown.status).toBe(2);
  const elsewhere = await call(["shell", run, "b", "--agent", "nobody"], "");
  expect(elsewhere.stderr).toContain('the agent "nobody" is not there');
  expect(elsewhere.status).toBe(3);
});

it("an agent that is lost while a shell is open is said, and nothing of the shell is left", async () => {
  const { run, agent } = await failedRun();
  const child = start(["shell", run, "b"]);
  child.stdin.write("echo here; sleep 3600\n");
  await once(child.stdout, "data");
  const stderr = text(child.stderr);
  const back = farm.problem(/starting it again/);
  process.kill(pidOf(farm, agent), "SIGKILL");
  const [status] = await exitOf(child);
  expect(await stderr).toContain(`the agent "${agent}" was lost while its shell was open`);
  expect(status).toBe(3);
  await back;
  await vi.waitFor(() => expect(leftovers()).toEqual([]), { timeout: 30_000 });
});

describe.skipIf(!mayMount)("on a machine without the program script, of a farm with little patience,", () => {
  let folder: string;
  beforeAll(async () => {
    await farm.remove();
    folder = mkdtempSync(join(tmpdir(), "millrace-program-"));
    const program = join(folder, "millrace");
    const hide = `mount --bind /dev/null "$(command -v script)" && exec ${millrace} "$@"`;
    writeFileSync(program, `#!/bin/sh\nexec unshare --mount sh -c '${hide}' millrace "$@"\n`, { mode: 0o755 });
    farm = await startFarm({ agents: 1, env: { MILLRACE_SHELL_IDLE: "2s" }, program });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it("is one without a terminal, which says so; its end by silence is said, and leaves nothing", async () => {
    const { run } = await failedRun();
    const { child, heard } = inTerminal(run);
    await heard(/this agent has no program "script" \(util-linux\): a shell without a terminal/);
    await heard(/nothing went through the shell for 2s: it was ended, and all that it had started/);
    const [status] = await exitOf(child);
    expect(status).toBe(3);
    await vi.waitFor(() => expect(leftovers()).toEqual([]), { timeout: 20_000 });
  });
});

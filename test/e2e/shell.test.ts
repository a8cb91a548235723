import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { cliEnvironment, project, startFarm, type TestFarm } from "../support/farm.ts";
import { pidOf } from "../support/farm-processes.ts";
import { processesAbout } from "../support/process-state.ts";

const millrace = resolve(import.meta.dirname, "../../bin/millrace");
let farm: TestFarm;

beforeAll(async () => {
  farm = await startFarm({ agents: 1 });
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

async function failedRun(): Promise<string> {
  const done = await farm.run(failing());
  expect(done.status).toBe("failed");
  return done.run;
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

/** Processes and folders of shells and of what tasks left. */
function leftovers(): string[] {
  const agent = join(farm.dataDir, "agents", "1");
  const folders = ["work", "shells"].flatMap((name) =>
    (existsSync(join(agent, name)) ? readdirSync(join(agent, name)) : []).map((entry) => `${name}/${entry}`),
  );
  return [...processesAbout("millrace-shell").map(({ command }) => command.slice(0, 60)), ...folders];
}

it("is where the failed process was, with its files, environment and script, and leaves nothing", async () => {
  const run = await failedRun();
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

it("has a terminal where the person has one", async () => {
  const run = await failedRun();
  const call = `stty rows 40 cols 100; exec '${millrace}' shell ${run} b`;
  const env = { ...cliEnvironment(join(farm.dataDir, "..")), TERM: "vt100" };
  const child = spawn("script", ["-qec", call, "/dev/null"], { env, stdio: ["pipe", "pipe", "inherit"] });
  let said = "";
  const heard = (words: RegExp) => vi.waitFor(() => expect(said).toMatch(words), { timeout: 30_000, interval: 50 });
  child.stdout.on("data", (data) => void (said += data));
  await heard(/[#$]\S* $/);
  child.stdin.write("echo $((6 * 7)) $(stty size) $TERM; sleep 3600\r");
  await heard(/42 40 100 vt100/);
  child.stdin.write("\x03"); // Ctrl-C is for what runs in the shell
  child.stdin.write("exit 5\r");
  const [status] = await once(child, "close");
  expect(status).toBe(5);
  await vi.waitFor(() => expect(leftovers()).toEqual([]));
});

it("ends with its client, and says when there is nothing to open", async () => {
  const run = await failedRun();
  const child = start(["shell", run, "b"]);
  child.stdin.write("echo here; sleep 3600\n");
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await vi.waitFor(() => expect(leftovers()).toEqual([]), { timeout: 20_000 });

  const unknown = await call(["shell", run, "c"], "");
  expect(unknown.stderr).toContain(`"c" is no task of ${run} of a/b`);
  expect(unknown.status).toBe(2);
  const elsewhere = await call(["shell", run, "b", "--agent", "nobody"], "");
  expect(elsewhere.stderr).toContain('the agent "nobody" is not there');
  expect(elsewhere.status).toBe(3);
});

it("an agent that is lost while a shell is open is said, and nothing of the shell is left", async () => {
  const run = await failedRun();
  const child = start(["shell", run, "b"]);
  child.stdin.write("echo here; sleep 3600\n");
  await once(child.stdout, "data");
  const stderr = text(child.stderr);
  const back = farm.problem(/starting it again/);
  process.kill(pidOf(farm, "agent-1"), "SIGKILL");
  const [status] = await once(child, "close");
  expect(await stderr).toContain('the agent "agent-1" was lost while its shell was open');
  expect(status).toBe(3);
  await back;
  await vi.waitFor(() => expect(leftovers()).toEqual([]), { timeout: 30_000 });
});

import { once } from "node:events";
import { accessSync, constants, existsSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test, vi } from "vitest";
import { openRunner, type ProcessPlan, type Runner, StartRefused } from "../../../agent/runner/runner.ts";
import { systemClock } from "../../../shared/clock.ts";
import { isRunning, processesAbout } from "../../support/process-state.ts";
import { tempDir } from "../../support/temp-dir.ts";

const hostile = fileURLToPath(new URL("./fixtures/hostile.sh", import.meta.url));
let tags = 0;

interface Setup {
  readonly runner: Runner;
  readonly name: string;
  readonly folder: string;
  readonly spool: string;
  plan(...command: string[]): ProcessPlan;
  output(): string;
  /** Resolves when the spool holds the text. */
  printed(text: string): Promise<void>;
}

async function setup(containment: string[] = []): Promise<Setup> {
  const folder = tempDir();
  const spool = join(folder, "spool");
  const name = `millrace-test-${process.pid}-${++tags}`;
  const runner = await openRunner({
    name,
    stateFile: join(folder, "containment"),
    startsFile: join(folder, "process-starts.log"),
    namespace: [],
    containment,
    clock: systemClock,
  });
  onTestFinished(() => runner.close());
  const output = () => readFileSync(spool, "utf8");
  return {
    runner,
    name,
    folder,
    spool,
    plan: (...command) => ({
      executionId: "exe_1",
      attempt: 1,
      arguments: command,
      environment: { PATH: "/usr/bin:/bin" },
      workingFolder: folder,
      spool,
    }),
    output,
    async printed(text) {
      const watcher = watch(spool);
      while (!output().includes(text)) await once(watcher, "change");
      watcher.close();
    },
  };
}

test("a process ends with its exit code, its output in the spool and its start in the log", async () => {
  const { runner, plan, output, folder } = await setup();
  const task = await runner.start(plan("sh", "-c", "echo out; echo err >&2; exit 7"));
  expect(await task.ended).toMatchObject({ code: 7, signal: null, outOfMemory: false });
  expect(output()).toBe("out\nerr\n");
  const starts = readFileSync(join(folder, "process-starts.log"), "utf8");
  expect(starts).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z exe_1 1 \d+\n$/);
});

test("a process sees exactly the environment it was given, and no input", async () => {
  const { runner, plan, output } = await setup();
  const task = await runner.start({
    ...plan("sh", "-c", "env -u PWD -u _ -u OLDPWD; cat; umask"),
    environment: { A: "1" },
  });
  expect((await task.ended).code).toBe(0);
  // Where there is no cgroup, a marker is what processes are found by.
  const lines = output()
    .replace(/^MILLRACE_CONTAINED=.*\n/m, "")
    .split("\n");
  expect(lines.sort()).toEqual(["", "0022", "A=1"]);
});

test("a signal that ends a process is named", async () => {
  const { runner, plan } = await setup();
  const task = await runner.start(plan("sh", "-c", "kill -SEGV $$"));
  expect(await task.ended).toMatchObject({ code: null, signal: "SIGSEGV" });
});

test("a program that is not there is refused with the system's code", async () => {
  const { runner, plan } = await setup();
  await expect(runner.start(plan("no-such-program"))).rejects.toBeInstanceOf(StartRefused);
  await expect(runner.start(plan("./nothing"))).rejects.toMatchObject({ systemCode: "ENOENT" });
});

test("a kill gives the grace to clean up, and kills what does not use it", async () => {
  const { runner, plan, output, printed } = await setup();
  const polite = await runner.start(
    plan("sh", "-c", "trap 'echo cleaned; exit 3' TERM; echo up; while :; do sleep 0.01; done"),
  );
  await printed("up");
  polite.kill(10_000);
  expect(await polite.ended).toMatchObject({ code: 3 });
  expect(output()).toContain("cleaned");
  const deaf = await runner.start(plan("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.01; done"));
  await printed("deaf");
  deaf.kill(50);
  expect(await deaf.ended).toMatchObject({ signal: "SIGKILL" });
});

test.each([["cgroup-v2"], ["cgroup-v1"]])("a hostile task leaves no process behind (%s)", async (way) => {
  const { runner, plan, printed } = await setup([way, "best-effort"]);
  if (runner.feature !== `containment:${way}`) return; // not on this machine
  const tag = `${process.pid}${++tags}`;
  const task = await runner.start(plan("bash", hostile, tag));
  await printed("started");
  expect(processesAbout(`7777.${tag}`).length).toBeGreaterThanOrEqual(6);
  task.kill(20);
  await task.ended;
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
});

test("without cgroups, what stays in the group, the session or the environment is found", async () => {
  const { runner, plan, printed } = await setup(["best-effort"]);
  expect(runner.feature).toBe("containment:best-effort");
  const tag = `${process.pid}${++tags}`;
  const task = await runner.start(
    plan("sh", "-c", `setsid sleep 7777.${tag} & sleep 7777.${tag} & echo up; sleep 7777.${tag}`),
  );
  await printed("up");
  task.kill(0);
  await task.ended;
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
});

test("what a task leaves in the background ends with it", async () => {
  const { runner, plan } = await setup();
  const tag = `${process.pid}${++tags}`;
  const task = await runner.start(plan("sh", "-c", `setsid sleep 7777.${tag} & echo up`));
  expect(await task.ended).toMatchObject({ code: 0 });
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
});

test("when the runner dies, its tasks are ended and the next one serves", async () => {
  const { runner, name, plan, printed, folder } = await setup();
  const tag = `${process.pid}${++tags}`;
  const task = await runner.start(
    plan("sh", "-c", `echo up; trap '' TERM; setsid sleep 7777.${tag} & sleep 7777.${tag}`),
  );
  await printed("up");
  const [victim] = processesAbout(join(folder, "containment"));
  expect(victim?.command).toContain("runner-process");
  const waiting = processesAbout(`${name}: waits for a task`);
  expect(waiting.length).toBeGreaterThan(0);
  process.kill(victim?.pid ?? 0, "SIGKILL");
  await expect(task.ended).rejects.toMatchObject({ code: "unavailable" });
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
  expect(waiting.filter(({ pid }) => isRunning(pid))).toEqual([]);
  const next = await runner.start(plan("true"));
  expect((await next.ended).code).toBe(0);
});

test("a launcher that somebody ended is not used", async () => {
  const { runner, name, plan } = await setup();
  const waiting = processesAbout(`${name}: waits for a task`);
  for (const { pid } of waiting) process.kill(pid, "SIGKILL");
  await vi.waitUntil(() => waiting.every(({ pid }) => !existsSync(`/proc/${pid}`)), 10_000);
  for (let n = 0; n < 3; n++) expect(await (await runner.start(plan("true"))).ended).toMatchObject({ code: 0 });
});

test("the environment of a process is in no list of processes while it starts", async () => {
  const { runner, name, plan } = await setup();
  const seen = new Set<string>();
  const look = () => {
    for (const { command } of [...processesAbout("exit 5"), ...processesAbout(name)]) seen.add(command);
    looking = setImmediate(look);
  };
  let looking = setImmediate(look);
  for (let n = 0; n < 20; n++) {
    const secret = { PATH: "/usr/bin:/bin", PASSWORD: "hunter2" };
    const task = await runner.start({ ...plan("sh", "-c", "sleep 0.02; exit 5"), environment: secret });
    expect(await task.ended).toMatchObject({ code: 5 });
  }
  clearImmediate(looking);
  expect([...seen].join("\n")).toContain("exit 5");
  expect([...seen].join("\n")).not.toContain("hunter2");
});

test("processor time is counted, also of what had no time to be seen", async () => {
  for (const way of ["cgroup-v2", "cgroup-v1"]) {
    const { runner, plan } = await setup([way, "best-effort"]);
    if (runner.feature !== `containment:${way}`) continue; // not on this machine
    const task = await runner.start(plan("sh", "-c", "(i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done)"));
    expect((await task.ended).cpuMs).toBeGreaterThan(20);
  }
});

test("peak memory is counted, and its want told from other kills, where a memory controller can be had", async ({
  skip,
}) => {
  const memory = memoryGroup();
  if (memory === undefined) return skip("no memory controller of version 1 here");
  const { runner, plan } = await setup();
  const holds = (mebibytes: number) => `const all = Buffer.alloc(${mebibytes} << 20, 1); console.log(all.length)`;
  const fits = await runner.start(plan(process.execPath, "-e", holds(64)));
  const { peakMemoryBytes, code } = await fits.ended;
  expect(code).toBe(0);
  expect(peakMemoryBytes).toBeGreaterThan(64 << 20);
  expect(peakMemoryBytes).toBeLessThan(400 << 20);
  // A limit on the task's own group, from the task's side: no limit of ours is there yet.
  const limit = `g=${memory}$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup); echo 64M > "$g/memory.limit_in_bytes"; "$@"`;
  const starves = await runner.start(plan("sh", "-c", limit, "sh", process.execPath, "-e", holds(256)));
  expect(await starves.ended).toMatchObject({ code: 137, outOfMemory: true });
  const killed = await runner.start(plan("sh", "-c", "kill -KILL $$"));
  expect(await killed.ended).toMatchObject({ signal: "SIGKILL", outOfMemory: false });
});

/** Where the version 1 memory controller is mounted, if we may make groups in it. */
function memoryGroup(): string | undefined {
  const mount = /^\S+ (\S+) cgroup \S*\bmemory\b/m.exec(readFileSync("/proc/mounts", "utf8"))?.[1];
  const own = /^\d+:memory:(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  if (mount === undefined || own === undefined) return undefined;
  try {
    accessSync(join(mount, own), constants.W_OK);
    return mount;
  } catch {
    return undefined; // read-only, as in a container
  }
}

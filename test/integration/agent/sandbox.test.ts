import { once } from "node:events";
import { mkdirSync, readdirSync, readFileSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, type TestContext, test } from "vitest";
import { canCutNetwork, chooseSandbox } from "../../../agent/runner/probe-sandbox.ts";
import { openRunner, type ProcessPlan } from "../../../agent/runner/runner.ts";
import { systemClock } from "../../../shared/clock.ts";
import { userNamespacesWork } from "../../support/machine.ts";
import { isRunning, processesAbout } from "../../support/process-state.ts";
import { tempDir } from "../../support/temp-dir.ts";

const hostile = readFileSync(fileURLToPath(new URL("./fixtures/hostile.sh", import.meta.url)), "utf8");
let tags = 0;

/** A runner whose tasks run in a sandbox: in `own`, below a folder that is hidden. */
async function setup(skip: TestContext["skip"], containment: string[] = [], user: string[] = []) {
  const data = tempDir();
  const at = (name: string) => join(data, name);
  for (const name of ["own", "home", "tmp", "other"]) mkdirSync(at(name));
  writeFileSync(at("other/secret"), "of another task");
  const runner = await openRunner({
    name: `millrace-test-${process.pid}-sandbox-${++tags}`,
    stateFile: at("containment"),
    startsFile: at("process-starts.log"),
    namespace: ["unshare", ...user, "--mount", "--propagation", "private"],
    containment,
    clock: systemClock,
  });
  onTestFinished(() => runner.close());
  if ((await chooseSandbox(undefined, runner, { data, hidden: [data] })) === "none")
    skip("bubblewrap does not work here");
  const spool = at("spool");
  writeFileSync(spool, "");
  const output = () => readFileSync(spool, "utf8");
  const plan = (...command: string[]): ProcessPlan => ({
    executionId: "exe_1",
    attempt: 1,
    arguments: command,
    environment: { PATH: "/usr/bin:/bin", HOME: at("home"), TMPDIR: at("tmp") },
    workingFolder: at("own"),
    spool,
    sandbox: {
      hidden: [data],
      readable: [],
      writable: ["own", "home", "tmp"].map(at),
      temporary: at("tmp"),
      network: true,
    },
  });
  return {
    ...{ runner, data, at, plan, output },
    async run(...command: string[]) {
      const task = await runner.start(plan(...command));
      return await task.ended;
    },
    async printed(text: string) {
      const watcher = watch(spool);
      while (!output().includes(text)) await once(watcher, "change");
      watcher.close();
    },
  };
}

describe("a task in a sandbox", () => {
  test("ends as it ended: `exit 139` and SIGSEGV are told apart", async ({ skip }) => {
    const { run } = await setup(skip);
    expect(await run("sh", "-c", "exit 0")).toMatchObject({ code: 0, signal: null });
    expect(await run("sh", "-c", "exit 139")).toMatchObject({ code: 139, signal: null });
    expect(await run("sh", "-c", "kill -SEGV $$")).toMatchObject({ code: null, signal: "SIGSEGV" });
    expect(await run("sh", "-c", "kill -KILL $$")).toMatchObject({ code: null, signal: "SIGKILL", outOfMemory: false });
    expect(await run("sh", "-c", "kill -INT $$")).toMatchObject({ code: null, signal: "SIGINT" });
    expect(await run("sh", "-c", "exit 255")).toMatchObject({ code: 255, signal: null });
  });

  test("is refused when its program cannot be run, and may itself exit with 126 or 127", async ({ skip }) => {
    const { run, at } = await setup(skip);
    await expect(run("no-such-program")).rejects.toMatchObject({ systemCode: "ENOENT" });
    await expect(run("./nothing")).rejects.toMatchObject({ systemCode: "ENOENT" });
    writeFileSync(at("own/plain"), "no program");
    await expect(run("./plain")).rejects.toMatchObject({ systemCode: "EACCES" });
    expect(await run("sh", "-c", "exit 127")).toMatchObject({ code: 127 });
    expect(await run("sh", "-c", "exit 126")).toMatchObject({ code: 126 });
  });

  test("has exactly its environment and its arguments", async ({ skip }) => {
    const { runner, plan, output, run, data } = await setup(skip);
    const environment = { A: "it's\n$HOME", "with.dot": "kept" };
    await (await runner.start({ ...plan("/usr/bin/env", "-0"), environment })).ended;
    expect(output().split("\0").filter(Boolean).sort()).toEqual(["A=it's\n$HOME", "with.dot=kept"]);
    await run("printf", "<%s>", "", "two words", "'", '"$(id)`"\\', "*");
    expect(output()).toContain(`<><two words><'><"$(id)\`"\\><*>`);
    const many = Array.from({ length: 30_000 }, (_, index) => `argument${index}`);
    expect(await run("sh", "-c", 'echo "$# arguments"', "sh", ...many)).toMatchObject({ code: 0 });
    expect(output()).toContain("30000 arguments");
    expect(readdirSync(data)).not.toContain("spool.command");
  });

  test("sees neither the agent's folder nor other tasks, and writes to its own places alone", async ({ skip }) => {
    const { run, data, at, output } = await setup(skip);
    const look = `ls ${data}; cat ${at("other/secret")}; touch ${data}/new /etc/new ${at("other/new")}; touch "$HOME/ok" "$TMPDIR/ok" ok /tmp/also; echo $$`;
    await run("sh", "-c", look);
    expect(output()).not.toContain("of another task");
    expect(
      output()
        .split("\n")
        .filter((line) => /^\w+$/.test(line)),
    ).toEqual(["home", "own", "tmp", "3"]);
    expect(readdirSync(at("own"))).toEqual(["ok"]);
    expect(readdirSync(at("other"))).toEqual(["secret"]);
    expect(readdirSync(at("tmp"))).toEqual(expect.arrayContaining(["also", "ok"]));
    expect(readdirSync("/etc")).not.toContain("new");
  });

  test("gets SIGTERM and its grace, and so does what it started", async ({ skip }) => {
    const { runner, plan, printed, output } = await setup(skip);
    const child = "(trap 'echo child cleaned; exit' TERM; echo child up; while :; do sleep 0.01; done) &";
    const script = `${child} trap 'wait; echo cleaned; exit 3' TERM; echo parent is ready; while :; do sleep 0.01; done`;
    const polite = await runner.start(plan("sh", "-c", script));
    await printed("child up");
    await printed("parent is ready");
    polite.kill(10_000);
    expect(await polite.ended).toMatchObject({ code: 3 });
    expect(output()).toMatch(/child cleaned\n(.*\n)*cleaned/);
    const deaf = await runner.start(plan("sh", "-c", "trap '' TERM; echo deaf; while :; do sleep 0.01; done"));
    await printed("deaf");
    deaf.kill(50);
    expect(await deaf.ended).toMatchObject({ signal: "SIGKILL" });
  });

  test.for(["cgroup-v2", "cgroup-v1", "best-effort"])("leaves no process (%s)", async (way, { skip }) => {
    const { runner, plan, at, printed } = await setup(skip, [way, "best-effort"]);
    writeFileSync(at("own/hostile.sh"), hostile);
    const tag = `${process.pid}3${++tags}`;
    const task = await runner.start(plan("bash", "hostile.sh", tag));
    await printed("started");
    expect(processesAbout(`7777.${tag}`).length).toBeGreaterThanOrEqual(6);
    task.kill(20);
    await task.ended;
    expect(processesAbout(`7777.${tag}`)).toEqual([]);
    // And one that leaves them all behind.
    const left = await runner.start(plan("sh", "-c", `setsid env -i sleep 7777.${tag} & echo gone`));
    expect(await left.ended).toMatchObject({ code: 0 });
    expect(processesAbout(`7777.${tag}`)).toEqual([]);
  });

  test("is left alone by the end of another, whose namespace's number the kernel gives to it", async ({ skip }) => {
    const { run } = await setup(skip, ["best-effort"]);
    const several = async () => {
      const ends = [];
      for (let n = 0; n < 30; n++) ends.push(await run("sh", "-c", "sleep 0.02"));
      return ends;
    };
    const ends = await Promise.all(Array.from({ length: 8 }, several));
    expect(ends.flat().filter(({ code }) => code !== 0)).toEqual([]);
  });

  test("ends with the runner, by kill -9, when nobody is there to clean up", async ({ skip }) => {
    // A next runner finds by their environment only those that kept one: the rest must have ended by the namespace.
    const { runner, plan, at, printed } = await setup(skip, ["best-effort"]);
    writeFileSync(at("own/hostile.sh"), hostile);
    const tag = `${process.pid}4${++tags}`;
    const task = await runner.start(plan("bash", "hostile.sh", tag));
    await printed("started");
    const pids = processesAbout(`7777.${tag}`).map(({ pid }) => pid);
    const [victim] = processesAbout(at("containment"));
    process.kill(victim?.pid ?? 0, "SIGKILL");
    await expect(task.ended).rejects.toMatchObject({ code: "unavailable" });
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test.skipIf(!userNamespacesWork)("is kept and told of in the same way without privileges", async ({ skip }) => {
    const { run, runner, plan, at, printed } = await setup(skip, ["best-effort"], ["--user", "--map-root-user"]);
    expect(await run("sh", "-c", "kill -SEGV $$")).toMatchObject({ signal: "SIGSEGV" });
    expect(await run("sh", "-c", "! touch /etc/new; exit 139")).toMatchObject({ code: 139 });
    writeFileSync(at("own/hostile.sh"), hostile);
    const tag = `${process.pid}5${++tags}`;
    const task = await runner.start(plan("bash", "hostile.sh", tag));
    await printed("started");
    task.kill(20);
    await task.ended;
    expect(processesAbout(`7777.${tag}`)).toEqual([]);
  });

  test("has no network but its own loopback when it must not have one", async ({ skip }) => {
    const { runner, data, plan, output } = await setup(skip);
    if (!(await canCutNetwork(runner, { data, hidden: [data] }))) skip("bubblewrap cannot cut the network here");
    const { sandbox, ...task } = plan("/bin/sh", "-c", "sed -n 's/^ *\\([^ ]*\\): .*/\\1/p' /proc/net/dev");
    if (sandbox === undefined) throw new Error("the plan has no sandbox");
    const started = await runner.start({ ...task, sandbox: { ...sandbox, network: false } });
    expect(await started.ended).toMatchObject({ code: 0 });
    expect(output()).toBe("lo\n");
  });

  test("that cannot be set up is the farm's failure and says why", async ({ skip }) => {
    const { runner, plan, output } = await setup(skip);
    const broken = {
      hidden: [],
      readable: [],
      writable: ["/no/such/folder"],
      temporary: "/no/such/folder",
      network: true,
    };
    const task = await runner.start({ ...plan("true"), sandbox: broken });
    await expect(task.ended).rejects.toMatchObject({ code: "internal" });
    expect(output()).toContain("/no/such/folder");
  });
});

test("an agent that is told to use bubblewrap where it does not work says what to do", async () => {
  const broken = { start: () => Promise.reject(new Error("spawn bwrap ENOENT")) };
  const data = tempDir();
  const folders = { data, hidden: [data] };
  await expect(chooseSandbox("bubblewrap", broken, folders)).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining("spawn bwrap ENOENT"),
  });
  expect(await chooseSandbox(undefined, broken, folders)).toBe("none");
  expect(await chooseSandbox("none", broken, folders)).toBe("none");
});

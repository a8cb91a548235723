import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  statSync,
  truncateSync,
  watch,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { EndingKind, SandboxLevel } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { loadTree } from "../../../shared/merkle/load-tree.ts";
import { exitOf } from "../../support/exit-of.ts";
import { bubblewrapWorks } from "../../support/machine.ts";
import { tempDir } from "../../support/temp-dir.ts";
import type { ActionSpec } from "./assignment.ts";
import { type AgentProcess, type FakeFarm, fakeFarm, startAgent } from "./farm.ts";

let executions = 0;

/** Runs a script with the cache `npm` at `.npm` and gives its log; other ways of ending fail the test. */
async function run(
  farm: FakeFarm,
  agent: AgentProcess,
  script: string,
  more: Partial<ActionSpec> = {},
): Promise<string> {
  const { report, log } = await attempt(farm, agent, script, more);
  expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0, detail: "" });
  return log;
}

async function attempt(farm: FakeFarm, agent: AgentProcess, script: string, more: Partial<ActionSpec> = {}) {
  const id = await begin(farm, agent, script, more);
  const report = await farm.report(id);
  return { report, log: farm.log(id).text };
}

async function begin(farm: FakeFarm, agent: AgentProcess, script: string, more: Partial<ActionSpec> = {}) {
  const id = `exe_${++executions}`;
  const spec = { command: ["sh", "-ec", script], caches: { npm: ".npm" }, ...more };
  // A slot is free a moment after the report.
  await farm.until(() => (farm.heartbeats.findLast(({ agentId }) => agentId === agent.id)?.held.length ?? 0) < 2);
  expect(await farm.assign(agent.id, id, spec)).toMatchObject({ accepted: true, refusal: "" });
  return id;
}

/** Where the one version of the one cache of an agent has its content, when the one before is gone. */
async function versionOf({ data }: AgentProcess): Promise<string> {
  const [id = ""] = readdirSync(join(data, "caches"));
  const cache = join(data, "caches", id);
  const watcher = watch(cache);
  while (readdirSync(cache).length > 1) await once(watcher, "change");
  watcher.close();
  return join(cache, readdirSync(cache)[0] ?? "", ".npm");
}

const list = "find .npm -type f -exec sh -c 'echo \"$1=$(cat $1)\"' - {} ';' | sort";

describe.each(["none", "bubblewrap"] as const)("a named cache of tasks in sandbox %s", (sandbox) => {
  beforeEach(({ skip }) => skip(sandbox === "bubblewrap" && !bubblewrapWorks, "bubblewrap does not work here"));

  test("is there for the next task, and nothing of it in outputs", async () => {
    const farm = await fakeFarm();
    const agent = await startAgent(farm, { sandbox });
    const first =
      "ls -A .npm; mkdir .npm/a; echo 1 > .npm/a/one; echo 2 > .npm/two; ln -s two .npm/link; echo out > out/o";
    const { report, log } = await attempt(farm, agent, first, { outputs: ["out/o", "out"] });
    expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0, detail: "" });
    expect(report.confinement?.sandbox).toBe(sandbox === "none" ? SandboxLevel.NONE : SandboxLevel.BUBBLEWRAP);
    expect(log).toBe("");
    const tree = await loadTree(farm.cas, digestFromMessage(report.result?.outputDirectories[0]?.rootDirectoryDigest));
    expect(tree.map(({ path }) => path)).toEqual(["o"]);
    expect(await run(farm, agent, `${list}; readlink .npm/link`)).toBe(".npm/a/one=1\n.npm/two=2\ntwo\n");
    await run(farm, agent, "echo more >> .npm/a/one; rm .npm/two; mv .npm/a .npm/b; chmod 755 .npm/b/one");
    expect(await run(farm, agent, `${list}; test -x .npm/b/one; ls -A`)).toBe(".npm/b/one=1\nmore\n.npm\n");
    await run(farm, agent, "rm -rf .npm");
    expect(await run(farm, agent, "ls -A .npm")).toBe("");
    expect(agent.complaints()).toBe("");
  });

  test("is as before after a task that failed, was killed, or left out an output", async () => {
    const farm = await fakeFarm();
    const agent = await startAgent(farm, { sandbox });
    await run(farm, agent, "echo good > .npm/file");
    const spoil = "echo bad > .npm/file; echo bad > .npm/other; ";
    expect((await attempt(farm, agent, `${spoil} exit 1`)).report.ending?.exitCode).toBe(1);
    const { report: lacking } = await attempt(farm, agent, spoil, { outputs: ["promised"] });
    expect(lacking.ending?.kind).toBe(EndingKind.OUTPUT_MISSING);
    const { report: late } = await attempt(farm, agent, `${spoil} exec sleep 600`, { timeoutMs: 200 });
    expect(late.ending?.kind).toBe(EndingKind.TIMED_OUT);
    const running = await begin(farm, agent, `${spoil} echo spoiled; exec sleep 600`);
    await farm.until(() => farm.log(running).text === "spoiled\n");
    await farm.cancel(agent.id, running);
    expect((await farm.report(running)).ending?.kind).toBe(EndingKind.CANCELLED);
    expect(await run(farm, agent, list)).toBe(".npm/file=good\n");
  });
});

test("two tasks at once both begin with what was kept, see nothing of each other, and the last to succeed is kept", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { sandbox: "none" });
  await run(farm, agent, "echo 0 > .npm/base");
  const goOn = join(tempDir(), "go-on");
  const wait = `until [ -e ${goOn} ]; do sleep 0.05; done`;
  const slow = await begin(farm, agent, `echo slow > .npm/slow; echo began; ${wait}; ${list}`);
  await farm.until(() => farm.log(slow).text === "began\n");
  expect(await run(farm, agent, `echo quick > .npm/quick; ${list}`)).toBe(".npm/base=0\n.npm/quick=quick\n");
  expect(await run(farm, agent, list)).toBe(".npm/base=0\n.npm/quick=quick\n");
  writeFileSync(goOn, "");
  await farm.report(slow);
  expect(farm.log(slow).text).toBe("began\n.npm/base=0\n.npm/slow=slow\n");
  expect(await run(farm, agent, list)).toBe(".npm/base=0\n.npm/slow=slow\n");
});

test("a cache belongs to a project, a name, a path and the tools of the task", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { tools: ["perl"] });
  await run(farm, agent, "echo 1 > .npm/file");
  expect(await run(farm, agent, list, { project: "other" })).toBe("");
  expect(await run(farm, agent, list, { caches: { pnpm: ".npm" } })).toBe("");
  expect(await run(farm, agent, "ls -A npm", { caches: { npm: "npm" } })).toBe("");
  const [tool] = farm.joined[0]?.tools ?? [];
  expect(tool?.name).toBe("perl");
  const platform = { [`tool:${tool?.name}`]: tool?.fingerprint ?? "" };
  expect(await run(farm, agent, list, { platform })).toBe("");
  expect(await run(farm, agent, list, { platform: { os: "linux" } })).toBe(".npm/file=1\n");
  const both = { caches: { npm: ".npm", deep: "a/b/c" }, inputs: { "a/b/input": "i" } };
  await run(farm, agent, "echo deep > a/b/c/file; echo 2 > .npm/file; echo beside > a/beside", both);
  expect(await run(farm, agent, "find . -type f | sort", both)).toBe("./.npm/file\n./a/b/c/file\n./a/b/input\n");
  expect(await run(farm, agent, "find . -type f", {})).toBe("./.npm/file\n");
});

test("an agent that is killed in mid-write leaves the cache as before, and nothing besides", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await run(farm, agent, "echo good > .npm/file");
  const id = await begin(farm, agent, "echo bad > .npm/file; echo written; exec sleep 600");
  await farm.until(() => farm.log(id).text === "written\n");
  const [cache = ""] = readdirSync(join(agent.data, "caches"));
  const half = join(agent.data, "caches", cache, "half-a-version");
  mkdirSync(half);
  agent.child.kill("SIGKILL");
  await exitOf(agent.child);
  const again = await startAgent(farm, { id: agent.id, data: agent.data });
  expect(await run(farm, again, list)).toBe(".npm/file=good\n");
  expect(existsSync(half)).toBe(false);
});

test("a cache that was cut short while the agent was away is dropped, and said", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await run(farm, agent, "echo good > .npm/file");
  agent.child.kill("SIGTERM");
  await exitOf(agent.child);
  truncateSync(join(await versionOf(agent), "file"), 2);
  const again = await startAgent(farm, { id: agent.id, data: agent.data });
  expect(await run(farm, again, list)).toBe("");
  expect(again.complaints()).toContain("is not what was kept");
  await run(farm, again, "echo new > .npm/file");
  expect(await run(farm, again, list)).toBe(".npm/file=new\n");
});

test("what a task did not write to is shared by versions and never changed through them; the version before goes", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await run(farm, agent, "echo 1 > .npm/same; echo 1 > .npm/changed; mkdir .npm/d; echo 1 > .npm/d/f");
  const isOverlay = farm.joined[0]?.features.includes("input-root:overlay") === true;
  const before = await versionOf(agent);
  const inode = (folder: string, name: string) => statSync(join(folder, name)).ino;
  const inodes = { same: inode(before, "same"), changed: inode(before, "changed") };
  // As long as before, and as old: only that it was written to tells it from the one before.
  const hide = "cp -p .npm/changed $TMPDIR/as-it-was; echo 2 > .npm/changed; touch -r $TMPDIR/as-it-was .npm/changed";
  await run(farm, agent, `${hide}; mv .npm/d .npm/e`);
  const after = await versionOf(agent);
  expect(after).not.toBe(before);
  if (isOverlay) expect(inode(after, "same")).toBe(inodes.same);
  expect(inode(after, "changed")).not.toBe(inodes.changed);
  expect(await run(farm, agent, "cat .npm/changed .npm/e/f .npm/same")).toBe("2\n1\n1\n");
  expect(await versionOf(agent)).toBe(after); // nothing was written, nothing is new
});

test("caches count into the agent's store, and the one unused for longest goes first", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { storeBytes: 10_000_000 });
  const fill = (name: string) =>
    run(farm, agent, "[ -e .c/f ] || head -c 3900000 /dev/zero > .c/f", { caches: { [name]: ".c" } });
  const has = (name: string) => run(farm, agent, "ls .c", { caches: { [name]: ".c" } });
  await fill("a");
  await fill("b");
  await fill("a"); // used, not changed
  await fill("c");
  expect(await has("c")).toBe("f\n");
  expect(await has("a")).toBe("f\n");
  expect(await has("b")).toBe("");
});

describe("a hostile task", () => {
  test("leads nobody elsewhere: what is no folder is not kept, links are not followed, devices and set-user-id go", async () => {
    const farm = await fakeFarm();
    const agent = await startAgent(farm);
    await run(farm, agent, "echo good > .npm/file");
    const secret = join(tempDir(), "secret");
    mkdirSync(secret);
    writeFileSync(join(secret, "key"), "secret");
    await run(farm, agent, `rm -rf .npm; ln -s ${secret} .npm`);
    await run(farm, agent, "rm -rf .npm; echo file > .npm");
    expect(await run(farm, agent, list)).toBe(".npm/file=good\n");
    expect(agent.complaints()).toContain("the task left no folder");
    await run(farm, agent, `ln -s ${secret} .npm/link; mkfifo .npm/fifo; chmod 4777 .npm/file; ln -s loop .npm/loop`);
    const version = await versionOf(agent);
    expect(readdirSync(version).sort()).toEqual(["file", "link", "loop"]);
    expect(readlinkSync(join(version, "link"))).toBe(secret);
    expect(statSync(join(version, "file")).mode & 0o7777).toBe(0o777);
    await run(farm, agent, "mkdir .npm/locked; echo x > .npm/locked/f; chmod 000 .npm/locked/f .npm/locked");
    await run(farm, agent, "rm -rf .npm/*");
    expect(await run(farm, agent, "ls -A .npm")).toBe("");
    expect(readdirSync(secret)).toEqual(["key"]);
  });

  test("is refused names and paths that lead out, or to where outputs and inputs are", async () => {
    const farm = await fakeFarm();
    const agent = await startAgent(farm);
    const refused: [Readonly<Record<string, string>>, Partial<ActionSpec>][] = [
      [{ "../../store": ".npm" }, {}],
      [{ npm: "../../../store" }, {}],
      [{ npm: "out" }, { outputs: ["out/file"] }],
      [{ npm: "src" }, { inputs: { "src/a": "a" } }],
      [{ npm: "src/a/b" }, { inputs: { "src/a": "a" } }],
    ];
    for (const [caches, more] of refused) {
      const { report } = await attempt(farm, agent, "true", { caches, ...more });
      expect(report.ending?.kind).toBe(EndingKind.REFUSED);
    }
    expect(existsSync(join(agent.data, "process-starts.log"))).toBe(false);
  });
});

import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, watch } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { EndingKind } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import { digestFromMessage, digestOf } from "../../../shared/digest.ts";
import { loadTree } from "../../../shared/merkle/load-tree.ts";
import { exitOf } from "../../support/exit-of.ts";
import { processesAbout } from "../../support/process-state.ts";
import { fakeFarm, startAgent } from "./farm.ts";

const hostile = fileURLToPath(new URL("./fixtures/hostile.sh", import.meta.url));

test("an action runs on its inputs alone and its outputs, log and times come back", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  expect(farm.joined[0]).toMatchObject({ id: agent.id, slots: 2, labels: { os: "linux", pool: "default" } });
  const reply = await farm.assign(agent.id, "exe_1", {
    command: [
      "sh",
      "-c",
      'ls -A > out/list; cat src/a.txt > out/deep/copy; ./tool; echo "$KEYED $VOLATILE"; ln -s list out/link',
    ],
    inputs: { "src/a.txt": "hello\n", "tool!": "#!/bin/sh\necho from the tool\n" },
    outputs: ["out/deep/copy", "out/list", "out", "out/link"],
    environment: { KEYED: "keyed" },
    volatile: { VOLATILE: "volatile", KEYED: "must not win" },
  });
  expect(reply.accepted).toBe(true);
  const report = await farm.report("exe_1");
  expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0, detail: "" });
  expect(farm.log("exe_1")).toMatchObject({ text: "from the tool\nkeyed volatile\n", finished: true });
  expect(await farm.output(report, "out/deep/copy")).toBe("hello\n");
  expect(await farm.output(report, "out/list")).toBe("out\nsrc\ntool\n");
  expect(report.result?.outputSymlinks).toMatchObject([{ path: "out/link", target: "list" }]);
  const directory = report.result?.outputDirectories[0];
  const entries = await loadTree(farm.cas, digestFromMessage(directory?.rootDirectoryDigest));
  expect(entries.map(({ path }) => path)).toEqual(["deep/copy", "link", "list"]);
  expect(await readBlob(farm.cas, digestFromMessage(directory?.treeDigest))).toBeDefined();
  const log = await readBlob(farm.cas, digestFromMessage(report.result?.stdoutDigest));
  expect(Buffer.from(log).toString()).toBe("from the tool\nkeyed volatile\n");
  const times = report.result?.executionMetadata;
  expect(times?.worker).toBe(agent.id);
  const order = [
    times?.workerStartTimestamp,
    times?.inputFetchStartTimestamp,
    times?.inputFetchCompletedTimestamp,
    times?.executionStartTimestamp,
    times?.executionCompletedTimestamp,
    times?.outputUploadStartTimestamp,
    times?.outputUploadCompletedTimestamp,
    times?.workerCompletedTimestamp,
  ].map((time) => Number(time?.seconds ?? Number.NaN) * 1000 + (time?.nanos ?? Number.NaN) / 1e6);
  expect(order).toEqual([...order].sort((a, b) => a - b));
  expect(agent.starts()).toHaveLength(1);
  expect(agent.starts()[0]).toMatch(/^\S+Z exe_1 1 \d+$/);
});

test("blobs that came with the assignment are not asked of the farm", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["cat", "a/b"], inputs: { "a/b": "inline" }, inline: true });
  const report = await farm.report("exe_1");
  expect(report.ending?.detail).toBe("");
  expect(farm.log("exe_1").text).toBe("inline");
});

test("each way of ending is told by its kind", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const run = async (executionId: string, spec: Parameters<typeof farm.assign>[2]) => {
    const { accepted, refusal } = await farm.assign(agent.id, executionId, spec);
    expect(refusal).toBe("");
    expect(accepted).toBe(true);
    const report = await farm.report(executionId);
    await farm.until(() => farm.heartbeats.at(-1)?.held.length === 0);
    return report;
  };

  const failed = await run("failed", {
    command: ["sh", "-c", "echo why > out; echo log; exit 3"],
    outputs: ["never", "out"],
  });
  expect(failed.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 3 });
  expect(failed.result?.exitCode).toBe(3);
  expect(await farm.output(failed, "out")).toBe("why\n");
  expect(farm.log("failed")).toMatchObject({ text: "log\n", finished: true });

  const signalled = await run("signalled", { command: ["sh", "-c", "kill -ABRT $$"] });
  expect(signalled.ending).toMatchObject({ kind: EndingKind.SIGNALLED, signal: "SIGABRT" });

  const missing = await run("missing", { command: ["sh", "-c", "echo > there"], outputs: ["not-there", "there"] });
  expect(missing.ending).toMatchObject({ kind: EndingKind.OUTPUT_MISSING });
  expect(missing.ending?.detail).toContain('"not-there"');

  const slow = await run("slow", { command: ["sh", "-c", "echo begun; sleep 100"], timeoutMs: 200 });
  expect(slow.ending?.kind).toBe(EndingKind.TIMED_OUT);
  expect(farm.log("slow")).toMatchObject({ text: "begun\n", finished: true });

  const unknown = await run("unknown", { command: ["no-such-command"] });
  expect(unknown.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 127 });
  expect(farm.log("unknown").text).toContain("no-such-command");

  const lacking = await run("lacking", { command: ["true"], inputs: { a: "not uploaded" }, withheld: ["a"] });
  expect(lacking.ending?.kind).toBe(EndingKind.INFRASTRUCTURE);
  expect(lacking.ending?.detail).toContain(digestOf(Buffer.from("not uploaded")).hash);

  const hostilePath = await run("escape", { command: ["true"], outputs: ["../../etc"] });
  expect(hostilePath.ending?.kind).toBe(EndingKind.REFUSED);
  expect(agent.starts()).toHaveLength(4);
});

test("a cancelled task ends with its log whole, and a second placement is told apart by its epoch", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", "echo up; sleep 100"] }, 5);
  await farm.until(() => farm.log("exe_1").text === "up\n");
  expect(await farm.assign(agent.id, "exe_1", { command: ["true"] }, 5)).toMatchObject({ accepted: false });
  expect(await farm.cancel(agent.id, "nothing")).toBe(false);
  expect(await farm.cancel(agent.id, "exe_1", "nobody wants it")).toBe(true);
  const report = await farm.report("exe_1");
  expect(report.ending).toMatchObject({ kind: EndingKind.CANCELLED, detail: "nobody wants it" });
  expect(farm.log("exe_1").finished).toBe(true);
});

test("when all slots are taken the next assignment is refused", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { slots: 1 });
  await farm.assign(agent.id, "exe_1", { command: ["sleep", "100"] });
  expect(await farm.assign(agent.id, "exe_2", { command: ["true"] })).toMatchObject({
    accepted: false,
    refusal: "all 1 slots are taken",
  });
  await farm.until(() => farm.heartbeats.at(-1)?.held[0]?.executionId === "exe_1");
  await farm.cancel(agent.id, "exe_1");
  await farm.report("exe_1");
});

test("a hostile task leaves no process", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const tag = `${process.pid}01`;
  const inputs = { "hostile.sh": readFileSync(hostile, "utf8") };
  await farm.assign(agent.id, "exe_1", { command: ["bash", "hostile.sh", tag], inputs, timeoutMs: 1_000 });
  await farm.until(() => farm.log("exe_1").text.includes("started"));
  expect(processesAbout(`7777.${tag}`).length).toBeGreaterThan(5);
  const report = await farm.report("exe_1");
  expect(report.ending?.kind).toBe(EndingKind.TIMED_OUT);
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
});

test("writing to, replacing or removing inputs changes neither the store nor the next task", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const inputs = { "a.txt": "original", "dir/b.txt": "original b", "run!": "#!/bin/sh\n" };
  const destroy =
    "chmod 777 a.txt; echo more >> a.txt; echo x > dir/b.txt; rm -r dir; mkdir dir; echo new > dir/c; mv dir moved; echo x >> run; cat a.txt";
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", destroy], inputs, outputs: ["moved", "a.txt"] });
  const first = await farm.report("exe_1");
  expect(first.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  expect(farm.log("exe_1").text).toBe("originalmore\n");
  expect(await farm.output(first, "a.txt")).toBe("originalmore\n");
  const moved = await loadTree(farm.cas, digestFromMessage(first.result?.outputDirectories[0]?.rootDirectoryDigest));
  expect(moved.map(({ path }) => path)).toEqual(["c"]);
  await farm.assign(agent.id, "exe_2", { command: ["sh", "-c", "cat a.txt dir/b.txt; ls; cat run"], inputs });
  await farm.report("exe_2");
  expect(farm.log("exe_2").text).toBe("originaloriginal ba.txt\ndir\nrun\n#!/bin/sh\n");
  const { hash } = digestOf(Buffer.from("original"));
  expect(readFileSync(join(agent.data, "store", hash.slice(0, 2), hash), "utf8")).toBe("original");
});

test("a hundred thousand lines arrive complete and in order", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["seq", "1", "100000"] });
  await farm.report("exe_1");
  expect(farm.log("exe_1")).toMatchObject({
    text: Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join(""),
    finished: true,
  });
});

test("ten megabytes without a newline do not stall another task's log", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "big", { command: ["sh", "-c", "head -c 10000000 /dev/zero | tr '\\0' x; sleep 100"] });
  await farm.until(() => farm.logBytes("big") > 0);
  await farm.assign(agent.id, "small", { command: ["echo", "through"] });
  await farm.report("small");
  await farm.until(() => farm.logBytes("big") === 10_000_000);
  await farm.cancel(agent.id, "big");
  await farm.report("big");
});

test("when the coordinator is away in mid-task, the log goes on where it stopped and the report comes once", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const script =
    "i=0; while [ $i -lt 2000 ]; do echo line $i; i=$((i+1)); [ $((i % 100)) = 0 ] && sleep 0.05; done; echo done > out";
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", script], outputs: ["out"] });
  await farm.until(() => farm.log("exe_1").text.includes("line 300"));
  await farm.stopGrpc();
  await written(join(agent.data, "spool", "exe_1.1"), "line 1000\n");
  await farm.startGrpc();
  const report = await farm.report("exe_1");
  expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  expect(await farm.output(report, "out")).toBe("done\n");
  const lines = Array.from({ length: 2000 }, (_, index) => `line ${index}\n`).join("");
  expect(farm.log("exe_1")).toMatchObject({ text: lines, finished: true });
  await farm.until(() => farm.heartbeats.at(-1)?.held.length === 0);
  expect(farm.reports).toHaveLength(1);
});

test("a report that nobody answers is sent again, also by the agent's next start", async () => {
  const farm = await fakeFarm();
  farm.answerReports(false);
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["echo", "kept"] });
  await farm.report("exe_1");
  await farm.until(() => farm.heartbeats.at(-1)?.held[0]?.executionId === "exe_1");
  agent.child.kill("SIGKILL");
  await exitOf(agent.child);
  farm.answerReports(true);
  const before = farm.reports.length;
  await startAgent(farm, { id: agent.id, data: agent.data });
  await farm.until(() => farm.reports.length > before);
  expect(farm.reports.at(-1)).toMatchObject({ executionId: "exe_1", ending: { kind: EndingKind.EXITED } });
  const answered = farm.heartbeats.length;
  await farm.until(() => farm.heartbeats.length > answered && farm.heartbeats.at(-1)?.held.length === 0);
});

test("the bus goes away and comes back, and the agent with it", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", "sleep 1; echo through"] });
  await farm.nats.kill();
  await farm.until(() => farm.log("exe_1").finished);
  await farm.nats.restart();
  const report = await farm.report("exe_1");
  expect(report.ending?.kind).toBe(EndingKind.EXITED);
});

test("SIGTERM lets a task finish, refuses new ones, says goodbye and exits 0", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await farm.assign(agent.id, "exe_1", { command: ["sh", "-c", "echo up; sleep 1; echo finished"] });
  await farm.until(() => farm.log("exe_1").text.includes("up"));
  const exit = exitOf(agent.child);
  agent.child.kill("SIGTERM");
  await farm.until(() => farm.heartbeats.at(-1)?.draining === true);
  expect(await farm.assign(agent.id, "exe_2", { command: ["true"] })).toMatchObject({ accepted: false });
  const report = await farm.report("exe_1");
  expect(report.ending).toMatchObject({ kind: EndingKind.EXITED, exitCode: 0 });
  expect(await exit).toEqual([0, null]);
  expect(farm.goodbyes).toEqual([agent.id]);
  expect(readdirSync(join(agent.data, "work"))).toEqual([]);
  expect(readdirSync(join(agent.data, "spool"))).toEqual([]);
});

test("an agent whose supervisor vanishes takes its tasks along", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm, { channel: true });
  const tag = `${process.pid}02`;
  await farm.assign(agent.id, "exe_1", {
    command: ["sh", "-c", `setsid sleep 7777.${tag} & echo up; sleep 7777.${tag}`],
  });
  await farm.until(() => farm.log("exe_1").text.includes("up"));
  const exit = exitOf(agent.child);
  agent.child.disconnect();
  expect(await exit).toEqual([0, null]);
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
  expect((await farm.report("exe_1")).ending?.kind).toBe(EndingKind.INFRASTRUCTURE);
});

test("a killed agent takes its tasks along, and the next start clears what they left", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  const tag = `${process.pid}03`;
  await farm.assign(agent.id, "exe_1", {
    command: ["sh", "-c", `setsid sleep 7777.${tag} & echo up; sleep 7777.${tag}`],
  });
  await farm.until(() => farm.log("exe_1").text.includes("up"));
  agent.child.kill("SIGKILL");
  await exitOf(agent.child);
  await startAgent(farm, { id: agent.id, data: agent.data });
  expect(processesAbout(`7777.${tag}`)).toEqual([]);
  expect(existsSync(join(agent.data, "work"))).toBe(false);
});

test("when agent and runner are killed at once, the kernel ends a hostile task without either", async ({ skip }) => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  if (!(farm.joined[0]?.features.includes("sandbox:bubblewrap") ?? false)) return skip("no sandbox here");
  const tag = `${process.pid}05`;
  const inputs = { "hostile.sh": readFileSync(hostile, "utf8") };
  await farm.assign(agent.id, "exe_1", { command: ["bash", "hostile.sh", tag], inputs });
  await farm.until(() => farm.log("exe_1").text.includes("started"));
  const left = processesAbout(`7777.${tag}`);
  expect(left.length).toBeGreaterThan(5);
  const runner = processesAbout(join(agent.data, "containment")).map(({ pid }) => pid);
  expect(runner).toHaveLength(1);
  agent.child.kill("SIGSTOP"); // so that it does not see its runner die
  for (const pid of [...runner, agent.child.pid ?? 0]) process.kill(pid, "SIGKILL");
  await exitOf(agent.child);
  while (processesAbout(`7777.${tag}`).length > 0) await new Promise(setImmediate);
});

test("a second agent in the same folder is turned away", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  await expect(startAgent(farm, { id: agent.id, data: agent.data })).rejects.toThrow(/in use by another agent/);
});

test("an agent that the farm forgot joins anew, and answers a roll call at once", async () => {
  const farm = await fakeFarm();
  const agent = await startAgent(farm);
  farm.rejoin(agent.id);
  await farm.until(() => farm.joined.length === 2);
  expect(farm.joined[1]?.session).toBe(farm.joined[0]?.session);
  const before = farm.heartbeats.length;
  farm.rollCall();
  await farm.until(() => farm.heartbeats.length > before);
});

/** Resolves when the file holds the text. */
async function written(file: string, text: string): Promise<void> {
  const watcher = watch(file);
  while (!readFileSync(file, "utf8").includes(text)) await once(watcher, "change");
  watcher.close();
}

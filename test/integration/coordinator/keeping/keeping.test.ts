import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import type { KeepingConfig } from "../../../../coordinator/config.ts";
import { numbersGiven, restoreBackup } from "../../../../coordinator/keeping/backup/restore-backup.ts";
import { writeBackup } from "../../../../coordinator/keeping/backup/write-backup.ts";
import { coordinatorSchema } from "../../../../coordinator/schema.ts";
import { RunStatus } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { systemClock } from "../../../../shared/clock.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { busAgent } from "../../../support/bus-agent.ts";
import { failure } from "../../../support/codes.ts";
import { type Clients, startTestCoordinator } from "../../../support/coordinator.ts";
import { submitText, work } from "../../../support/runs.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const pipeline = (text: string) => `name: p\nstages: { s: { tasks: { t: { run: echo ${text} } } } }\n`;

/** A coordinator with one agent that does whatever it is told. */
async function farm(keeping: Partial<KeepingConfig> = {}) {
  const data = tempDir();
  const coordinator = await startTestCoordinator(data, { keeping });
  const [person, machine] = [coordinator.as("admin"), await coordinator.asAgent("a")];
  const agent = await busAgent(await coordinator.connectBus(), { id: "a" });
  await machine.agents.joinFarm({ agent: agent.info });
  agent.heartbeat();
  return {
    ...{ data, coordinator, person },
    /** One run from its submit to its end. */
    async run(text: string): Promise<string> {
      const run = await submitText(person, pipeline(text));
      await work(agent, machine, await agent.nextAssign(), `${text}\n`);
      for await (const _ of person.runs.watchRun({ run })); // it ends with the run
      return run;
    },
  };
}

const namesOf = async ({ runs }: Clients) => (await runs.listRuns({})).runs.map(({ name }) => name);
const codeOf = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

/** The list of runs follows the log a moment later, and what would go is read from it. */
const dryRun =
  ({ admin }: Clients) =>
  () =>
    admin.collectGarbage({ dryRun: true });

test("runs beyond the count go with their logs, but for those that are pinned; it is written down", async () => {
  const { data, person, run } = await farm({ keepRuns: 1 });
  for (const text of ["one", "two", "three", "four"]) await run(text);
  await expect.poll(dryRun(person)).toMatchObject({ runs: 3n });
  await person.runs.pinRun({ run: "run_2", reason: "shipped" });
  expect(await dryRun(person)()).toMatchObject({ runs: 2n, runNames: ["run_3", "run_1"] }); // also when the list is late
  expect(await namesOf(person)).toEqual(["run_4", "run_3", "run_2", "run_1"]);
  expect(await person.admin.collectGarbage({})).toMatchObject({ runs: 2n, runNames: ["run_3", "run_1"] });
  await expect.poll(() => namesOf(person)).toEqual(["run_4", "run_2"]);
  expect(readdirSync(join(data, "logs")).sort()).toEqual(["run_2", "run_4"]);
  expect(await codeOf(person.runs.getRun({ run: "run_1" }))).toBe(Code.NotFound);
  expect(await codeOf(person.runs.pinRun({ run: "run_1" }))).toBe(Code.NotFound);
  expect((await person.runs.getRun({ run: "run_2" })).run).toMatchObject({ pinned: true, status: RunStatus.SUCCEEDED });

  expect(await person.admin.rebuildProjections({})).toMatchObject({ runs: 2n, changed: 0n });
  await person.runs.unpinRun({ run: "run_2" });
  await expect.poll(dryRun(person)).toMatchObject({ runs: 1n });
  expect(await person.admin.collectGarbage({})).toMatchObject({ runs: 1n, runNames: ["run_2"] });
  expect(await run("five")).toBe("run_5");
});

test("the key of a run that was removed starts a new one", async () => {
  const { person, run } = await farm({ keepRuns: 0 });
  const submit = () =>
    submitText(person, "name: p\nstages: { s: { manual: { title: go } } }\n", { idempotencyKey: "k" });
  const first = await submit();
  await person.runs.cancelRun({ run: first });
  for await (const _ of person.runs.watchRun({ run: first }));
  await run("newer");
  expect(await submit()).toBe(first);
  await expect.poll(dryRun(person)).toMatchObject({ runNames: [first] });
  await person.admin.collectGarbage({});
  await expect.poll(() => namesOf(person)).toEqual(["run_2"]);
  expect(await submit()).toBe("run_3");
});

test("logs may go before their run, which says then that its output is not all there", async () => {
  const { data, person, run } = await farm({ keepLogsFor: 0 });
  await run("one");
  await expect.poll(dryRun(person)).toMatchObject({ runLogs: 1n });
  expect(await person.admin.collectGarbage({})).toMatchObject({ runs: 0n, runLogs: 1n });
  expect(readdirSync(join(data, "logs"))).toEqual([]);
  const pieces = [];
  for await (const piece of person.logs.readLog({ run: "run_1", task: "s/t" })) pieces.push(piece);
  expect(pieces.map(({ finish, gap, data: bytes }) => [finish, gap, bytes.byteLength])).toEqual([[true, true, 0]]);
});

test("a backup that is given up clears its folder, and what a killed one left is cleared by the next", async () => {
  const { person, run, data } = await farm();
  await run("one");
  const folder = join(tempDir(), "backup");
  const given = new AbortController();
  const onProgress = ({ bytes }: { bytes: number }) => bytes > 0 && given.abort();
  const options = { data, tlsDir: join(data, "tls"), folder, clock: systemClock, signal: given.signal, onProgress };
  await failure("canceled", () => writeBackup(options));
  expect(readdirSync(folder)).toEqual([]);

  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "data", "half"), "half");
  expect(await codeOf(last(person, folder))).toBe(Code.FailedPrecondition);
  writeFileSync(join(folder, "unfinished"), "");
  await last(person, folder);
  expect(readdirSync(folder).sort()).toEqual(["data", "manifest.jsonl"]);
  expect(existsSync(join(folder, "data", "half"))).toBe(false);
  expect(await codeOf(last(person, folder))).toBe(Code.AlreadyExists);
  expect(await codeOf(last(person, "backup"))).toBe(Code.InvalidArgument);
  expect(await codeOf(last(person, join(data, "backup")))).toBe(Code.InvalidArgument);
});

async function last({ admin }: Clients, folder: string): Promise<void> {
  for await (const { step } of admin.backup({ folder })) if (step.case === "finish") return;
}

test("a backup holds the farm's CA also where that is kept outside of the coordinator's folder", async () => {
  const { data } = await farm();
  const [tlsDir, folder] = [tempDir(), join(tempDir(), "backup")];
  writeFileSync(join(tlsDir, "ca.key"), "the key", { mode: 0o600 });
  const { signal } = new AbortController();
  await writeBackup({ data, tlsDir, folder, clock: systemClock, signal, onProgress: () => undefined });
  expect(readFileSync(join(folder, "data", "tls", "ca.key"), "utf8")).toBe("the key");
  expect(readFileSync(join(folder, "manifest.jsonl"), "utf8")).toContain('"path":"data/tls/ca.key"');
});

test("a backup leaves the key of the secrets out also where it lies beside certificates, or is named in another way", async () => {
  const { data } = await farm();
  const [tlsDir, signal] = [tempDir(), new AbortController().signal];
  const asked = { data, tlsDir, clock: systemClock, signal, onProgress: () => undefined };
  mkdirSync(join(data, "keys"));
  for (const [at, file] of [join(tlsDir, "own.key"), join(data, "keys", "own.key")].entries()) {
    writeFileSync(file, "the key of the secrets", { mode: 0o600 });
    const folder = join(tempDir(), "backup");
    const named = `${file.slice(0, -"own.key".length)}./own.key`;
    await writeBackup({ ...asked, folder, secretKey: { file: named, isWanted: false } });
    expect(readFileSync(join(folder, "manifest.jsonl"), "utf8")).not.toContain(["tls/own.key", "keys/own.key"][at]);
  }
});

test("a backup holds the key of the secrets only when it was asked for", async () => {
  const { person, data } = await farm();
  await person.secrets.setSecret({ name: "token", value: Buffer.from("never-in-the-clear") });
  const [without, withKey] = [join(tempDir(), "backup"), join(tempDir(), "backup")];
  await last(person, without);
  for await (const { step } of person.admin.backup({ folder: withKey, withSecretKey: true }))
    expect(step.case).toBeDefined();
  expect(existsSync(join(without, "data", "secret.key"))).toBe(false);
  expect(readFileSync(join(without, "data", "coordinator.db")).includes("never-in-the-clear")).toBe(false);
  const kept = readFileSync(join(data, "secret.key"), "utf8");
  expect(readFileSync(join(withKey, "data", "secret.key"), "utf8")).toBe(kept);
});

test("a restore lets epochs jump beyond all that may have been given out, and begins anew where it was killed", async () => {
  const { person, run, coordinator } = await farm();
  await run("one");
  const backup = join(tempDir(), "backup");
  await last(person, backup);
  await coordinator.stop();
  const data = join(tempDir(), "new");
  mkdirSync(data);
  writeFileSync(join(data, "half"), "half");
  writeFileSync(join(data, "unfinished-restore"), "");
  await expect(startTestCoordinator(data)).rejects.toThrow("has not finished");
  const signal = new AbortController().signal;
  await restoreBackup({
    backup,
    data,
    schema: coordinatorSchema,
    clock: systemClock,
    signal,
    onProgress: () => undefined,
  });
  expect(existsSync(join(data, "half"))).toBe(false);
  const sqlite = await openSqlite({ path: join(data, "coordinator.db"), schema: [], readOnly: true });
  const [term] = await sqlite.query<{ current: number }>("SELECT current FROM term");
  await sqlite.close();
  expect(term?.current).toBeGreaterThan(1_700_000_000);
  const restored = await startTestCoordinator(data);
  expect(await namesOf(restored.as("admin"))).toEqual(["run_1"]);
  // No number that may have been given after the backup; and so it stays when there are runs again.
  expect(await submitText(restored.as("admin"), pipeline("two"))).toBe("run_2001");
  await expect.poll(() => namesOf(restored.as("admin"))).toEqual(["run_2001", "run_1"]);
});

test.each([
  ["at once", 7, 0, 2_000],
  ["after a day", 999, 86_400, 88_000],
  ["with a clock that was set back", 1_000, -60, 2_000],
])("a restore %s leaves a gap in the numbers of runs", (_, last, seconds, given) => {
  expect(numbersGiven(last, { createdMs: 1e12, nowMs: 1e12 + seconds * 1000 })).toBe(given);
});

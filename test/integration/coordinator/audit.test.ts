import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import type { AuditedCall } from "../../../coordinator/delivery/audit/audit-log.ts";
import { auditSchema, storedAudit } from "../../../coordinator/delivery/audit/stored-audit.ts";
import { startedLogs } from "../../../coordinator/keeping/backup/started-logs.ts";
import { restoreCoordinator } from "../../../coordinator/restore.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../coordinator/store/sqlite-event-store.ts";
import { Role } from "../../../proto/gen/millrace/v1/admin_pb.ts";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { startTestCoordinator } from "../../support/coordinator.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { submitText } from "../../support/runs.ts";
import { tempDir } from "../../support/temp-dir.ts";

const waiting = "name: p\nstages: { look: { manual: { title: Look at it } } }\n";
const refused = (call: Promise<unknown>): Promise<Code | undefined> =>
  call.then(
    () => undefined,
    (error: unknown) => ConnectError.from(error).code,
  );

/** What somebody does with the database while nobody looks. */
function tamper(data: string, change: (database: Database.Database) => void): void {
  const database = new Database(join(data, "coordinator.db"));
  change(database);
  database.close();
}

test("each call that changes something is recorded before it is answered, and each refusal for want of a right", async () => {
  const coordinator = await startTestCoordinator();
  const person = coordinator.as("admin");
  for (const name of ["shop", "other"]) await person.projects.setProject({ project: { name } });
  const { secret } = await person.admin.createToken({
    role: Role.VIEWER,
    user: "vera",
    name: "vera-1",
    projects: ["shop"],
  });
  const vera = coordinator.withToken(secret);
  const run = await submitText(person, waiting, { project: "shop" });
  const foreign = await submitText(person, waiting, { project: "other" });
  expect(await refused(vera.runs.cancelRun({ run }))).toBe(Code.PermissionDenied);
  expect(await refused(vera.runs.getRun({ run: foreign }))).toBe(Code.PermissionDenied);
  await vera.runs.getRun({ run });
  expect(await refused(person.runs.decideGate({ run, stage: "build" }))).toBe(Code.NotFound);
  await person.runs.cancelRun({ run });

  const { records } = await person.audit.listAuditRecords({});
  const said = records.map(({ principal, method, target, project, outcome }) => [
    ...[principal, method.slice(method.indexOf("/") + 1), target, project, outcome],
  ]);
  expect(said).toEqual([
    ["token:admin", "CancelRun", run, "shop", "ok"],
    ["token:admin", "DecideGate", `${run} build`, "shop", "not_found"],
    ["user:vera", "GetRun", foreign, "other", "permission_denied"],
    ["user:vera", "CancelRun", run, "shop", "permission_denied"],
    ["token:admin", "SubmitRunArchive", foreign, "other", "ok"],
    ["token:admin", "SubmitRunArchive", run, "shop", "ok"],
    ["token:admin", "CreateToken", "vera-1", "", "ok"],
    ["token:admin", "SetProject", "other", "", "ok"],
    ["token:admin", "SetProject", "shop", "", "ok"],
  ]);
  expect(JSON.stringify(records.map(({ detail }) => detail))).toContain("has the role viewer");
  expect(JSON.stringify(records.map((record) => ({ ...record, sequence: 0, time: 0 })))).not.toContain(secret);
  expect(await refused(vera.audit.listAuditRecords({}))).toBe(Code.PermissionDenied);

  const own = await person.audit.listAuditRecords({ project: "shop", pageSize: 2 });
  expect(own.records.map(({ target }) => target)).toEqual([run, `${run} build`]);
  const rest = await person.audit.listAuditRecords({ project: "shop", pageToken: own.nextPageToken });
  expect(rest.records.map(({ principal }) => principal)).toEqual(["user:vera", "token:admin"]);
  const later = timestampFromMs(Date.now() + 60_000);
  expect((await person.audit.listAuditRecords({ since: later })).records).toEqual([]);
});

test.each([
  ["changed in place", 2, (database: Database.Database) => database.exec(replaced("two", "six"))],
  ["removed", 2, (database: Database.Database) => database.exec("DELETE FROM commits WHERE instr(data, 'two') > 0")],
  [
    "exchanged with another one",
    1,
    (database: Database.Database) =>
      database.exec(`${replaced("one", "xxx")}; ${replaced("two", "one")}; ${replaced("xxx", "two")}`),
  ],
  ["the last one, and changed", 3, (database: Database.Database) => database.exec(replaced("thr", "bad"))],
  [
    "the last one, and removed",
    3,
    (database: Database.Database) => database.exec("DELETE FROM commits WHERE instr(data, 'thr') > 0"),
  ],
])("a record that was %s while the coordinator was down is found", async (_how, sequence, change) => {
  const data = tempDir();
  const first = await startTestCoordinator(data);
  for (const name of ["one", "two", "thr"]) await first.as("admin").projects.setProject({ project: { name } });
  const whole = await first.as("admin").audit.verifyAudit({});
  expect(whole).toMatchObject({ records: 3n, headSequence: 3n });
  expect(whole.fault).toBeUndefined();
  await first.stop();
  tamper(data, (database) => {
    database.exec("CREATE TEMP TABLE kept AS SELECT * FROM commits WHERE stream LIKE 'project/%'");
    change(database);
    // Only the audit was meant.
    database.exec("INSERT OR REPLACE INTO commits SELECT * FROM kept; DROP TABLE kept");
  });
  const second = await startTestCoordinator(data);
  const { audit, projects } = second.as("admin");
  expect(Number((await audit.verifyAudit({})).fault?.sequence)).toBe(sequence);
  // What comes after it does not cover it up.
  await projects.setProject({ project: { name: "late" } });
  expect(Number((await audit.verifyAudit({})).fault?.sequence)).toBe(sequence);
});

test.each([
  ["in its row", "two", 2, (data: string) => tamper(data, (database) => database.exec(unreadable("two")))],
  ["in the file of the database", "two", 2, (data: string) => scratch(data, "two")],
  [
    "in its row, the last one",
    "thr",
    3,
    (data: string) => tamper(data, (database) => database.exec(unreadable("thr"))),
  ],
])(
  "a record that cannot be decoded any more, damaged %s, stops no start: it is said, and the chain goes on behind a mark",
  async (_where, target, sequence, damage) => {
    const data = tempDir();
    const first = await startTestCoordinator(data);
    for (const name of ["one", "two", "thr"]) await first.as("admin").projects.setProject({ project: { name } });
    await first.stop();
    damage(data);

    const second = await startTestCoordinator(data);
    const { audit, projects, runs, admin } = second.as("admin");
    expect((await runs.listRuns({})).runs).toEqual([]);
    await projects.setProject({ project: { name: "late" } });
    const verdict = await audit.verifyAudit({});
    const reason = expect.stringMatching(/^cannot be decoded: .+ \(position \d+ of the event log\)$/);
    expect(verdict.fault).toMatchObject({ sequence: BigInt(sequence), reason });
    expect(verdict.faults).toMatchObject([{ sequence: BigInt(sequence) }]);
    expect(verdict).toMatchObject({ records: 4n, headSequence: 5n });
    const listed = (await audit.listAuditRecords({})).records;
    expect(listed.map((record) => Number(record.sequence))).toEqual([5, 4, 3, 2, 1]);
    expect(listed.at(1)).toMatchObject({
      principal: "system:audit",
      target: `record ${sequence}`,
      outcome: "data_loss",
    });
    expect(listed.at(1)?.detail).toContain(`record ${sequence} cannot be decoded`);
    expect(listed.at(5 - sequence)).toMatchObject({ principal: "", target: "", outcome: "data_loss" });
    expect(JSON.stringify(listed.map((record) => record.target))).not.toContain(target);
    await admin.rebuildProjections({});
    await second.stop();

    const third = (await startTestCoordinator(data)).as("admin");
    await third.projects.setProject({ project: { name: "later" } });
    // It was marked once, and nothing has hidden it: the next damage shows beside it.
    expect(await third.audit.verifyAudit({})).toMatchObject({
      headSequence: 7n,
      faults: [{ sequence: BigInt(sequence) }],
    });
    const { headSequence, headHash } = await third.audit.verifyAudit({});
    const noted = { expectedSequence: headSequence, expectedHash: headHash };
    expect((await third.audit.verifyAudit(noted)).faults.length).toBe(1);
    expect((await third.audit.verifyAudit({ ...noted, expectedHash: "0".repeat(64) })).faults).toMatchObject([
      { sequence: BigInt(sequence) },
      { sequence: headSequence, reason: "is not as it was when its hash was noted" },
    ]);
  },
);

/** No protobuf begins so. */
function unreadable(target: string): string {
  return `UPDATE commits SET data = x'ffffff' WHERE stream LIKE 'audit/%' AND instr(data, '${target}') > 0`;
}

/** Four bytes of one record, as a disk loses them: the tag and the length of its target among them. In every copy of its page. */
function scratch(data: string, target: string): void {
  const path = join(data, "coordinator.db");
  const bytes = readFileSync(path);
  const record = Buffer.concat([Buffer.from("SetProject"), Buffer.from([0x22, 3]), Buffer.from(target)]);
  let places = 0;
  for (let at = bytes.indexOf(record); at !== -1; at = bytes.indexOf(record), places += 1) {
    bytes.fill(0xff, at + "SetProject".length, at + "SetProject".length + 4);
  }
  expect(places).toBeGreaterThan(0);
  writeFileSync(path, bytes);
}

/** Of the same length, so that the record can still be read. */
function replaced(from: string, to: string): string {
  const hex = (text: string) => Buffer.from(text).toString("hex").toUpperCase();
  return `UPDATE commits SET data = unhex(replace(hex(data), '${hex(from)}', '${hex(to)}')) WHERE stream LIKE 'audit/%'`;
}

const call: AuditedCall = {
  ...{ principal: "user:anna", project: "shop", traceparent: "", outcome: "ok", detail: "" },
  ...{ method: "millrace.v1.RunService/CancelRun", target: "run_1" },
};

async function open(dir = tempDir()) {
  const sqlite = await openSqlite({ path: join(dir, "events.db"), schema: [eventStoreSchema, auditSchema] });
  onTestFinished(() => sqlite.close());
  const store = sqliteEventStore({ sqlite });
  let appends = 0;
  const counting = {
    ...store,
    append: (...args: Parameters<typeof store.append>) => {
      appends += 1;
      return store.append(...args);
    },
  };
  const errors: unknown[] = [];
  const audit = storedAudit({ sqlite, store: counting, clock: fakeClock(), onError: (error) => errors.push(error) });
  return { audit, sqlite, store, errors, appends: () => appends };
}

test("calls that come together share a write, and the chain goes on over streams and starts", async () => {
  const dir = tempDir();
  const { audit, appends, sqlite } = await open(dir);
  const count = limits.auditSegment + 50;
  const batch = 1_000;
  for (let done = 0; done < count; done += batch) {
    const size = Math.min(batch, count - done);
    await Promise.all(Array.from({ length: size }, () => audit.record(call)));
  }
  expect(appends()).toBeLessThan(count / 100);
  const streams = await sqlite.query<{ stream: string }>("SELECT DISTINCT stream FROM commits ORDER BY stream");
  expect(streams.map(({ stream }) => stream)).toEqual(["audit/0000000001", "audit/0000000002"]);
  const again = await open(dir);
  await again.audit.record(call);
  expect(await again.audit.verify()).toMatchObject({
    records: count + 1,
    head: { sequence: count + 1 },
    faults: [],
  });
  const page = await again.audit.page({
    before: limits.auditSegment + 2,
    sinceMs: undefined,
    project: "shop",
    limit: 3,
  });
  expect(page.records.map(({ sequence }) => Number(sequence))).toEqual([10_001, 10_000, 9_999]);
});

test("what cannot be written is told to who waits for it, and the next one is written where the chain stands", async () => {
  const { audit, sqlite, errors } = await open();
  await audit.record(call);
  await sqlite.write([
    { sql: "CREATE TRIGGER full BEFORE INSERT ON commits BEGIN SELECT RAISE(ABORT, 'no room'); END" },
  ]);
  await expect(audit.record(call)).rejects.toThrow(/writing the audit/);
  expect(errors.length).toBe(1);
  await sqlite.write([{ sql: "DROP TRIGGER full" }]);
  await audit.record(call);
  expect(await audit.verify()).toMatchObject({ records: 2, faults: [] });
});

test("a record that nobody can read any more is found, too, and a restore does not stumble over it", async () => {
  const { audit, sqlite, store } = await open();
  for (const target of ["one", "two", "three"]) await audit.record({ ...call, target });
  await sqlite.write([{ sql: "UPDATE commits SET data = x'ffffff' WHERE instr(data, 'two') > 0" }]);
  const { faults } = await audit.verify();
  expect(faults).toMatchObject([
    { sequence: 2n, reason: "cannot be decoded: premature EOF (position 2 of the event log)" },
  ]);
  for await (const log of startedLogs(store, AbortSignal.timeout(30_000))) expect.unreachable(log.executionId);
});

test("what is broken at the end is said once at the next start, also when nothing was noted of it", async () => {
  const dir = tempDir();
  const first = await open(dir);
  for (const target of ["one", "two", "three"]) await first.audit.record({ ...call, target });
  await first.sqlite.write([
    { sql: "UPDATE commits SET data = x'ffffff' WHERE instr(data, 'two') > 0 OR instr(data, 'three') > 0" },
    { sql: "DELETE FROM audit_head" },
  ]);
  const second = await open(dir);
  await second.audit.start?.();
  await second.audit.record({ ...call, target: "four" });
  expect(second.errors.map((error) => from(error).message)).toEqual([
    expect.stringMatching(/^the audit: record 2 cannot be decoded: .*; see `millrace audit verify`$/),
    expect.stringMatching(/^the audit: record 3 cannot be decoded/),
  ]);
  const { records, faults, head } = await second.audit.verify();
  expect({ records, head: head?.sequence }).toEqual({ records: 3, head: 5 });
  expect(faults.map(({ sequence }) => sequence)).toEqual([2n, 3n]);
  const third = await open(dir);
  await third.audit.start?.();
  await third.audit.stop?.();
  expect(third.errors).toEqual([]);
  expect((await third.audit.verify()).head).toEqual(head);
});

test("the record survives retention, a rebuild, a backup and a restore", async () => {
  const coordinator = await startTestCoordinator(tempDir(), { keeping: { keepRunsFor: 1 } });
  const { admin, audit, runs } = coordinator.as("admin");
  const run = await submitText(coordinator.as("admin"), waiting);
  await runs.cancelRun({ run });
  await submitText(coordinator.as("admin"), waiting);
  await expect.poll(async () => (await admin.collectGarbage({})).runNames, { interval: 20 }).toEqual([run]);
  await admin.rebuildProjections({});
  const folder = join(tempDir(), "backup");
  for await (const step of admin.backup({ folder })) expect(step.step.case).toBeDefined();
  const before = (await audit.listAuditRecords({})).records;
  expect(before.map(({ method }) => method.slice(method.indexOf("/") + 1))).toEqual(
    expect.arrayContaining(["Backup", "RebuildProjections", "CollectGarbage", "CancelRun", "SubmitRunArchive"]),
  );
  expect(before.at(-1)?.target).toBe(run);

  const data = join(tempDir(), "restored");
  await restoreCoordinator({ backup: folder, data, signal: AbortSignal.timeout(30_000), onProgress: () => undefined });
  const restored = (await startTestCoordinator(data)).as("admin");
  const after = (await restored.audit.listAuditRecords({})).records;
  expect(after).toEqual(before.slice(1)); // the backup was made before its own record
  expect((await restored.audit.verifyAudit({})).fault).toBeUndefined();
  await restored.projects.setProject({ project: { name: "late" } });
  const { sequence = 0n } = after[0] ?? {};
  expect(await restored.audit.verifyAudit({})).toMatchObject({ headSequence: sequence + 1n });
});

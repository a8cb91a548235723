import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { MillraceError } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { openDiskReserve, reservedSqlite } from "../../../../shared/sqlite/disk-reserve.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import type { Sqlite } from "../../../../shared/sqlite/sqlite.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { mountSmallDisk } from "../../../support/small-disk.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const schema = [{ name: "t", migrations: ["CREATE TABLE t (bytes BLOB) STRICT"] }];

test("a full disk takes writes from the reserve, which is taken again when there is room, and outlives a restart", async ({
  skip,
}) => {
  const disk = mountSmallDisk(2 * limits.diskReservePlentyBytes) ?? skip("this user may not mount a tmpfs");
  onTestFinished(() => disk.remove());
  const clock = fakeClock();
  const errors: MillraceError[] = [];
  const file = join(disk.dir, "reserve");
  const open = () => openDiskReserve({ file, clock, onError: (error) => errors.push(error) });
  const database = await openSqlite({ path: join(disk.dir, "db"), schema });
  onTestFinished(() => database.close());
  const large = [{ sql: "INSERT INTO t VALUES (zeroblob(100000))" }];

  await open().close();
  disk.fill("filler");
  await expect(database.write(large)).rejects.toMatchObject({ code: "resource_exhausted" });
  const reserve = open(); // of the start before
  onTestFinished(() => reserve.close());
  const sqlite = reservedSqlite(database, reserve);
  expect(await Promise.all([sqlite.write(large), sqlite.write(large)])).toEqual([[1], [1]]);
  expect(existsSync(file)).toBe(false);
  expect(errors).toMatchObject([{ code: "resource_exhausted", message: expect.stringContaining("is given back") }]);

  clock.advance(limits.diskReserveCheckMs);
  expect(existsSync(file)).toBe(false);
  rmSync(join(disk.dir, "filler"));
  await vi.waitFor(() => {
    clock.advance(limits.diskReserveCheckMs);
    expect(existsSync(file)).toBe(true);
  });
  expect(await reserve.release(), "there is room without it").toBe(false);
});

test("a reserve that a crash left half taken is taken anew", async () => {
  const file = join(tempDir(), "reserve");
  writeFileSync(file, "part");
  const reserve = openDiskReserve({ file, clock: fakeClock(), onError: (error) => expect.unreachable(error.message) });
  await reserve.close();
  expect(statSync(file).size).toBe(limits.diskReserveBytes);
});

/** A database that finds the disk full at these calls, and keeps what it took in order. */
function fullAt(...calls: readonly number[]) {
  const taken: string[] = [];
  const answers: (() => void)[] = [];
  let count = 0;
  const database: Sqlite = {
    async write(statements) {
      const isFull = calls.includes(++count);
      await new Promise<void>((resolve) => answers.push(resolve));
      if (isFull) throw new MillraceError("resource_exhausted", "no room");
      taken.push(...statements.map(({ sql }) => sql));
      return statements.map(() => 1);
    },
    query: async () => [],
    snapshot: async () => {},
    close: async () => {},
  };
  /** Answers what was sent so far, in order, and what is sent because of it. */
  async function settle(): Promise<void> {
    for (let turn = 0; turn < 20; turn += 1) {
      answers.shift()?.();
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  return { database, taken, answers, settle };
}

test("what is written while a write gets its second try does not pass it", async () => {
  const { database, taken, answers, settle } = fullAt(1);
  const released = Promise.withResolvers<boolean>();
  const sqlite = reservedSqlite(database, { release: () => released.promise });
  const write = (sql: string) => sqlite.write([{ sql }]);
  const all = [write("first")];
  answers.shift()?.();
  await new Promise((resolve) => setImmediate(resolve));
  all.push(write("second"));
  await settle();
  expect(taken, "the second waits").toEqual([]);
  released.resolve(true);
  // Called as those before it become free.
  await released.promise;
  all.push(write("third"));
  await settle();
  await Promise.all(all);
  expect(taken).toEqual(["first", "second", "third"]);
});

test("second tries come in the order of the first ones, and before what was asked for later", async () => {
  const { database, taken, answers, settle } = fullAt(1, 2);
  const sqlite = reservedSqlite(database, { release: async () => true });
  const write = (sql: string) => sqlite.write([{ sql }]);
  const all = [write("first"), write("second")];
  answers.shift()?.(); // the first is found out before the second
  await new Promise((resolve) => setImmediate(resolve));
  all.push(write("third"));
  await settle();
  await Promise.all(all);
  expect(taken).toEqual(["first", "second", "third"]);
});

test("a write that has no second chance does not hold up those behind it", async () => {
  const { database, taken, settle } = fullAt(1);
  const sqlite = reservedSqlite(database, { release: async () => false });
  const refused = sqlite.write([{ sql: "first" }]);
  const failure = expect(refused).rejects.toMatchObject({ code: "resource_exhausted" });
  await settle();
  await failure;
  const next = sqlite.write([{ sql: "second" }]);
  await settle();
  await next;
  expect(taken).toEqual(["second"]);
});

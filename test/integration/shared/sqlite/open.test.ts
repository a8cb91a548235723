import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Worker } from "node:worker_threads";
import Database from "better-sqlite3";
import { expect, onTestFinished, test } from "vitest";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { tempDir } from "../../../support/temp-dir.ts";

const migrations = [
  "CREATE TABLE things (name TEXT PRIMARY KEY, size INTEGER NOT NULL CHECK (size >= 0), data BLOB) STRICT",
];
const schema = [{ name: "things", migrations }];
const insert = "INSERT INTO things (name, size, data) VALUES (?, ?, ?)";

async function open(path = join(tempDir(), "test.db")) {
  const sqlite = await openSqlite({ path, schema });
  onTestFinished(() => sqlite.close());
  return { sqlite, path };
}

const thing = (name: string, size = 0, data: Uint8Array | null = null) => ({ sql: insert, params: [name, size, data] });

test("what was written is there after the database was opened again", async () => {
  const { sqlite, path } = await open();
  expect(await sqlite.write([thing("a"), thing("b", 7)])).toEqual([1, 1]);
  expect(await sqlite.write([{ sql: "UPDATE things SET size = size + 1" }])).toEqual([2]);
  await sqlite.close();
  const { sqlite: again } = await open(path);
  expect(await again.query("SELECT name, size FROM things WHERE size > ? ORDER BY name", [0])).toEqual([
    { name: "a", size: 1 },
    { name: "b", size: 8 },
  ]);
});

test("a failing write takes back all of its own statements and none of its neighbours'", async () => {
  const { sqlite } = await open();
  const results = await Promise.allSettled([
    sqlite.write([thing("a")]),
    sqlite.write([thing("half"), thing("a")]),
    sqlite.write([thing("b")]),
    sqlite.write([thing("c", -1)]),
    sqlite.write([{ sql: "INSERT INTO nowhere VALUES (1)" }]),
    sqlite.write([thing("d")]),
  ]);
  expect(results.map((result) => (result.status === "fulfilled" ? "stored" : result.reason.code))).toEqual([
    "stored",
    "already_exists",
    "stored",
    "failed_precondition",
    "internal",
    "stored",
  ]);
  expect(await sqlite.query("SELECT name FROM things ORDER BY name")).toEqual([
    { name: "a" },
    { name: "b" },
    { name: "d" },
  ]);
});

test("a write may not end the transaction that it shares with others", async () => {
  const { sqlite } = await open();
  const results = await Promise.allSettled([
    sqlite.write([thing("a")]),
    sqlite.write([{ sql: "COMMIT" }]),
    sqlite.write([thing("b")]),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(await sqlite.query("SELECT count(*) AS n FROM things")).toEqual([{ n: 2 }]);
});

test("a full database refuses what does not fit and keeps what does", async () => {
  const { sqlite } = await open();
  await sqlite.query("PRAGMA max_page_count = 20");
  const results = await Promise.allSettled([
    sqlite.write([thing("small", 1)]),
    sqlite.write([thing("large", 1, new Uint8Array(1_000_000))]),
    sqlite.write([thing("tiny", 1)]),
  ]);
  expect(results[1]).toMatchObject({ status: "rejected", reason: { code: "resource_exhausted" } });
  expect(await sqlite.query("SELECT name FROM things ORDER BY name")).toEqual([{ name: "small" }, { name: "tiny" }]);
});

test("calls take effect in the order in which they were made, more than fit in one commit too", async () => {
  const { sqlite } = await open();
  await sqlite.write([thing("counter")]);
  const seen: Promise<{ size: number }[]>[] = [];
  for (let n = 1; n <= 2_500; n += 1) {
    void sqlite.write([{ sql: "UPDATE things SET size = ? WHERE size = ?", params: [n, n - 1] }]);
    seen.push(sqlite.query<{ size: number }>("SELECT size FROM things"));
  }
  const sizes = (await Promise.all(seen)).map(([row]) => row?.size);
  expect(sizes).toEqual(Array.from({ length: 2_500 }, (_, index) => index + 1));
});

test("bytes come back equal, even when they were cut out of a larger buffer", async () => {
  const { sqlite } = await open();
  const frame = new Uint8Array(100_000).map((_, index) => index % 251);
  await sqlite.write([thing("a", 0, frame.subarray(5, 9)), thing("b", 0, new Uint8Array(0)), thing("c", 0, frame)]);
  const rows = await sqlite.query<{ data: Uint8Array }>("SELECT data FROM things ORDER BY name");
  expect(rows.map(({ data }) => [...data])).toEqual([[5, 6, 7, 8], [], [...frame]]);
});

test("a value that SQLite would silently change is refused", async () => {
  const { sqlite } = await open();
  await expect(sqlite.write([thing("nan", Number.NaN)])).rejects.toMatchObject({ code: "invalid_argument" });
  await expect(sqlite.query("SELECT ?", [])).rejects.toMatchObject({ code: "invalid_argument" });
});

test("a query cannot write behind the back of the group commit", async () => {
  const { sqlite } = await open();
  const sneaky = sqlite.query(`${insert} RETURNING name`, ["a", 1, null]);
  await expect(sneaky).rejects.toMatchObject({ code: "invalid_argument" });
});

test("close waits for what was asked before and refuses what comes after", async () => {
  const { sqlite, path } = await open();
  const written = sqlite.write([thing("last")]);
  const closed = sqlite.close();
  await expect(sqlite.write([thing("late")])).rejects.toMatchObject({ code: "unavailable" });
  await Promise.all([written, closed, sqlite.close()]);
  const { sqlite: again } = await open(path);
  expect(await again.query("SELECT name FROM things")).toEqual([{ name: "last" }]);
});

test("new migrations are added to an old database, and each runs once", async () => {
  const { sqlite, path } = await open();
  await sqlite.write([thing("a")]);
  await sqlite.close();
  const grown = [...migrations, "ALTER TABLE things ADD COLUMN colour TEXT; UPDATE things SET colour = 'red'"];
  for (const _ of ["first", "second"]) {
    const again = await openSqlite({ path, schema: [{ name: "things", migrations: grown }] });
    expect(await again.query("SELECT name, colour FROM things")).toEqual([{ name: "a", colour: "red" }]);
    await again.close();
  }
});

test("an edited past migration, a newer database and a failing migration are refused and change nothing", async () => {
  const { sqlite, path } = await open();
  await sqlite.close();
  const attempt = (list: string[]) => openSqlite({ path, schema: [{ name: "things", migrations: list }] });
  await expect(attempt([`${migrations[0]} `])).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining("migration 1 of things is not the one that was applied"),
  });
  await expect(attempt([])).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining("run the newer program"),
  });
  await expect(attempt([...migrations, "CREATE TABLE more (x)", "CREATE TABLE oops (("])).rejects.toMatchObject({
    message: expect.stringContaining("syntax error"),
  });
  const { sqlite: again } = await open(path);
  expect(await again.query("SELECT name FROM sqlite_schema WHERE name = 'more'")).toEqual([]);
});

test("parts of one database grow on their own, whatever the order in which they are named", async () => {
  const path = join(tempDir(), "test.db");
  const part = (name: string, ...columns: string[]) => ({
    name,
    migrations: [`CREATE TABLE ${name} (id)`, ...columns.map((column) => `ALTER TABLE ${name} ADD COLUMN ${column}`)],
  });
  await (await openSqlite({ path, schema: [part("a"), part("b")] })).close();
  const grown = await openSqlite({ path, schema: [part("b", "x"), part("a", "y"), part("c")] });
  expect(await grown.query("SELECT b.x, a.y, c.id FROM a, b, c")).toEqual([]);
  await grown.close();
  await expect(openSqlite({ path, schema: [part("a", "y"), part("b", "x")] })).rejects.toMatchObject({
    code: "failed_precondition",
    message: expect.stringContaining("migration c 1"),
  });
});

test("a file that is no database, and a damaged one, are reported as data_loss with their path", async () => {
  const path = join(tempDir(), "bad.db");
  writeFileSync(path, "this is not a database, whatever its name says".repeat(100));
  await expect(openSqlite({ path, schema })).rejects.toMatchObject({
    code: "data_loss",
    message: expect.stringContaining(path),
  });

  const { sqlite, path: damaged } = await open();
  await sqlite.write(Array.from({ length: 200 }, (_, n) => thing(`thing ${n}`, n, new Uint8Array(1_000))));
  await sqlite.close();
  const db = new Database(damaged);
  const pageSize = Number(db.pragma("page_size", { simple: true }));
  const pages = Number(db.pragma("page_count", { simple: true }));
  db.close();
  writeFileSync(damaged, new Uint8Array(pageSize * (pages - 4)).fill(0x5a), { flag: "r+", flush: true });
  await expect(openSqlite({ path: damaged, schema })).rejects.toMatchObject({ code: "data_loss" });
});

test("a missing folder is named", async () => {
  const path = join(tempDir(), "nowhere", "test.db");
  await expect(openSqlite({ path, schema })).rejects.toMatchObject({
    code: "not_found",
    message: expect.stringContaining(path),
  });
});

test("when the thread dies, waiting and later calls fail with internal and the owner is told once", async () => {
  const { promise: spawned, resolve } = Promise.withResolvers<Worker>();
  process.once("worker", resolve);
  const told: string[] = [];
  const path = join(tempDir(), "test.db");
  const sqlite = await openSqlite({ path, schema, onError: ({ code }) => told.push(code) });
  const worker = await spawned;
  const waiting = sqlite.query("SELECT 1");
  const failed = expect(waiting).rejects.toMatchObject({ code: "internal", message: expect.stringContaining(path) });
  await worker.terminate();
  await failed;
  await expect(sqlite.write([thing("late")])).rejects.toMatchObject({ code: "internal" });
  await sqlite.close();
  expect(told).toEqual(["internal"]);
});

test("a snapshot holds what was committed at one moment, while writes go on beside it", async () => {
  const { sqlite, path } = await open();
  await sqlite.write(Array.from({ length: 2_000 }, (_, n) => thing(`thing ${n}`, n, new Uint8Array(1_000))));
  const reader = await openSqlite({ path, schema: [], readOnly: true });
  onTestFinished(() => reader.close());
  const copy = join(tempDir(), "copy.db");
  let isDone = false;
  const snapshot = reader.snapshot(copy).then(() => void (isDone = true));
  // Two rows in each write: a snapshot of one moment has both or neither.
  for (let n = 0; !isDone; n += 1) await sqlite.write([thing(`left ${n}`), thing(`right ${n}`)]);
  await snapshot;
  const copied = await openSqlite({ path: copy, schema: [], readOnly: true });
  onTestFinished(() => copied.close());
  const [counts] = await copied.query<{ things: number; pairs: number; odd: number }>(
    `SELECT sum(name LIKE 'thing %') AS things, sum(name LIKE 'left %') AS pairs,
       sum(name LIKE 'left %') - sum(name LIKE 'right %') AS odd FROM things`,
  );
  expect(counts).toMatchObject({ things: 2_000, odd: 0 });
  await expect(reader.snapshot(copy)).rejects.toThrow("already exists");
  await expect(copied.write([thing("x")])).rejects.toMatchObject({ code: "permission_denied" });
});

test("a file that is not there is not opened read-only", async () => {
  await expect(openSqlite({ path: join(tempDir(), "none.db"), schema: [], readOnly: true })).rejects.toMatchObject({
    code: "not_found",
  });
});

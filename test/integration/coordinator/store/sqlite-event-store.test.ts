import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { expect, onTestFinished, test, vi } from "vitest";
import { emptyStream } from "../../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../../coordinator/store/sqlite-event-store.ts";
import { eventVersion } from "../../../../coordinator/store/upcast.ts";
import { type Commit, CommitSchema } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../../shared/limits.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import type { Sqlite, SqlValue } from "../../../../shared/sqlite/sqlite.ts";
import { commitOf, eventStoreConformance } from "../../../conformance/event-store.ts";
import { failure } from "../../../support/codes.ts";
import { exitOf } from "../../../support/exit-of.ts";
import { tempDir } from "../../../support/temp-dir.ts";

async function openAt(path: string) {
  const sqlite = await openSqlite({ path, schema: [eventStoreSchema] });
  onTestFinished(() => sqlite.close());
  return { store: sqliteEventStore({ sqlite }), sqlite };
}

eventStoreConformance("SQLite", async () => (await openAt(join(tempDir(), "events.db"))).store);

test("after kill -9 everything that was acknowledged is there, whole and in order", async () => {
  const path = join(tempDir(), "events.db");
  const writer = fileURLToPath(new URL("./event-writer.ts", import.meta.url));
  const child = spawn(process.execPath, [writer, path], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  /** By stream, the sequence of the last event that was acknowledged. */
  const acknowledged = new Map<string, number>();
  let lines = 0;
  const exited = exitOf(child);
  for await (const line of createInterface({ input: child.stdout })) {
    const [stream = "", sequence] = line.split(" ");
    acknowledged.set(stream, Number(sequence));
    lines += 1;
    if (lines === 2_000) child.kill("SIGKILL");
  }
  await exited;
  expect(lines).toBeGreaterThanOrEqual(2_000);

  const { store } = await openAt(path);
  expect(acknowledged.size).toBe(20);
  for (const [stream, sequence] of acknowledged) {
    const { commits, token } = await store.read(stream);
    expect(Number(token)).toBeGreaterThanOrEqual(sequence);
    expect(commits.map(({ firstSequence }) => firstSequence)).toEqual(commits.map((_, index) => 1 + 2 * index));
    expect(commits.every(({ commit }) => commit.events.length === 2)).toBe(true);
    await store.append(stream, token, commits[0]?.commit ?? expect.unreachable());
  }
});

test("a commit that is appended while a watcher's last read is still on its way is not missed", async () => {
  const { sqlite } = await openAt(join(tempDir(), "events.db"));
  const reads: PromiseWithResolvers<void>[] = [];
  const slow: Sqlite = {
    ...sqlite,
    async query<Row>(sql: string, params?: readonly SqlValue[]) {
      const rows = await sqlite.query<Row>(sql, params);
      const released = Promise.withResolvers<void>();
      reads.push(released);
      await released.promise;
      return rows;
    },
  };
  const store = sqliteEventStore({ sqlite: slow });
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const first = store.subscribe(0, stop.signal)[Symbol.asyncIterator]().next();
  await vi.waitUntil(() => reads.length === 1, 10_000); // it has read that there is nothing, and does not know yet
  await store.append("run-1", emptyStream, commitOf("a"));
  const second = store.subscribe(0, stop.signal)[Symbol.asyncIterator]().next(); // shares that read
  reads[0]?.resolve();
  await vi.waitUntil(() => reads.length === 2, 10_000);
  reads[1]?.resolve();
  expect((await first).value).toMatchObject({ stream: "run-1" });
  expect((await second).value).toMatchObject({ stream: "run-1" });
});

test("a commit that cannot be decoded is data loss to who asks for it, its place is named, and nobody else is stopped", async () => {
  const { store, sqlite } = await openAt(join(tempDir(), "events.db"));
  const sql = "INSERT INTO commits (stream, first_sequence, last_sequence, data) VALUES ('run-1', 1, 1, ?)";
  await sqlite.write([{ sql, params: [new Uint8Array([0xff, 0xff, 0xff])] }]);
  await store.append("run-2", emptyStream, commitOf("a"));
  const { commits } = await store.read("run-1");
  expect(commits.map(({ firstSequence, lastSequence }) => [firstSequence, lastSequence])).toEqual([[1, 1]]);
  const lost = { code: "data_loss", message: expect.stringContaining("position 1 of stream run-1") };
  expect(() => commits[0]?.commit).toThrow(expect.objectContaining(lost));
  const seen: string[] = [];
  const stop = new AbortController();
  for await (const stored of store.subscribe(0, stop.signal)) {
    seen.push(stored.stream);
    if (stored.stream === "run-1") expect(() => stored.commit).toThrow(expect.objectContaining(lost));
    else break;
  }
  stop.abort();
  expect(seen).toEqual(["run-1", "run-2"]);
});

test("events are written in the newest form, and what an older version wrote is lifted to it", async () => {
  const { store, sqlite } = await openAt(join(tempDir(), "events.db"));
  const kind = { case: "taskStarted", value: { task: "s/t", attempt: 1 } } as const;
  const older = toBinary(CommitSchema, create(CommitSchema, { events: [{ kind }] }));
  const sql = "INSERT INTO commits (stream, first_sequence, last_sequence, data) VALUES ('run-1', 1, 1, ?)";
  await sqlite.write([{ sql, params: [older] }]);
  const { commits, token } = await store.read("run-1");
  expect(commits).toMatchObject([{ commit: { events: [{ version: eventVersion, kind: { value: { try: 1 } } }] } }]);
  await store.append("run-1", token, create(CommitSchema, { events: [{ principal: "p" }] }));
  const rows = await sqlite.query<{ data: Uint8Array }>("SELECT data FROM commits ORDER BY first_sequence");
  expect(rows.map(({ data }) => fromBinary(CommitSchema, data).events[0]?.version)).toEqual([0, eventVersion]);
});

test("watchers who keep up get the commits themselves, and those who come later get equal ones", async () => {
  const { store } = await openAt(join(tempDir(), "events.db"));
  const commits = Array.from({ length: limits.unreadCommits + 3 }, (_, n) => commitOf(`${n}`));
  for (const [n, commit] of commits.entries()) await store.append(`run-${n}`, emptyStream, commit);
  const first = async () => {
    const got: Commit[] = [];
    const stop = new AbortController();
    for await (const { commit } of store.subscribe(0, stop.signal)) {
      got.push(commit);
      if (got.length === commits.length) stop.abort();
    }
    return got;
  };
  const watched = await first();
  expect(watched).toEqual(commits);
  expect(watched.filter((commit, n) => commit === commits[n])).toHaveLength(limits.unreadCommits);
  const { commits: read } = await store.read("run-5");
  expect(read.map(({ commit }) => commit)).toEqual([commits[5]]);
});

test("streams are retired in one step with the commit that says so, or not at all", async () => {
  const { sqlite } = await openAt(join(tempDir(), "events.db"));
  const store = sqliteEventStore({ sqlite });
  for (const stream of ["run/1", "run/2", "running", "keeping"])
    await store.append(stream, emptyStream, commitOf(stream));
  expect(await store.streams("run/")).toEqual(["run/1", "run/2"]);
  const retirement = { stream: "keeping", commit: commitOf("gone"), retired: ["run/1"] };
  await failure("aborted", () => store.retire({ ...retirement, expected: emptyStream }));
  expect(await store.streams("run/")).toEqual(["run/1", "run/2"]);
  const { token } = await store.read("keeping");
  await store.retire({ ...retirement, expected: token });
  expect(await store.streams("")).toEqual(["keeping", "run/2", "running"]);
  expect((await store.read("keeping")).commits).toHaveLength(2);
  expect(await store.read("run/1")).toEqual({ commits: [], token: emptyStream });
});

import { spawn } from "node:child_process";
import { appendFileSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { openFileLogStore } from "../../../../../coordinator/farm/logs/file-log-store.ts";
import { openLogFile } from "../../../../../coordinator/farm/logs/log-file.ts";
import type { LogChunk, LogName, LogStore } from "../../../../../coordinator/farm/logs/log-store.ts";
import { limits } from "../../../../../shared/limits.ts";
import { logStoreConformance } from "../../../../conformance/log-store.ts";
import { exitOf } from "../../../../support/exit-of.ts";
import { fakeClock } from "../../../../support/fake-clock.ts";
import { tempDir } from "../../../../support/temp-dir.ts";

const log: LogName = { executionId: "run-1.build.app", attempt: 2 };
const chunk = (offset: number, text: string, timeMs = 1_000) => ({
  offset,
  data: new TextEncoder().encode(text),
  timeMs,
});

async function openAt(dir: string) {
  const store = await openFileLogStore({ dir, clock: fakeClock() });
  onTestFinished(() => store.close());
  return store;
}

async function all(store: LogStore, name = log): Promise<LogChunk[]> {
  return Array.fromAsync(store.read(name, { offset: 0, follow: false, signal: new AbortController().signal }));
}
const textOf = (chunks: readonly LogChunk[]) => Buffer.concat(chunks.map(({ data }) => data)).toString();

logStoreConformance("the folder of files", () => openAt(tempDir()));

test("a log is a plain file below the first segment of its execution id", async () => {
  const dir = tempDir();
  const store = await openAt(dir);
  await store.append(log, chunk(0, "hello\n"));
  expect(readFileSync(join(dir, "run-1", "run-1.build.app.2.log"), "utf8")).toBe("hello\n");
});

test("after a restart a log has its bytes, times and end, and one without an end takes more", async () => {
  const dir = tempDir();
  const open = { executionId: "run-1.open", attempt: 1 };
  const empty = { executionId: "run-1.empty", attempt: 1 };
  const lost = { executionId: "run-1.lost", attempt: 1 };
  const before = await openAt(dir);
  for (const name of [log, open, lost]) {
    await before.append(name, chunk(0, "one\n", 1));
    await before.append(name, chunk(4, "two\n", 2));
  }
  await before.finish(log, "whole");
  await before.finish(empty, "whole");
  await before.finish(lost, "gap");
  await before.append(lost, chunk(8, "late\n", 3));
  await before.close();

  const after = await openAt(dir);
  const ends = [log, open, empty, lost].map((name) => after.endOf(name));
  expect(await Promise.all(ends)).toEqual(["whole", undefined, "whole", "gap"]);
  expect(await after.append(lost, chunk(13, "later\n", 4))).toBe(19);
  expect(textOf(await all(after, lost))).toBe("one\ntwo\nlate\nlater\n");
  expect((await all(after)).map(({ offset, timeMs }) => [offset, timeMs])).toEqual([
    [0, 1],
    [4, 2],
  ]);
  await expect(after.append(log, chunk(8, "more"))).rejects.toMatchObject({ code: "failed_precondition" });
  await expect(after.append(empty, chunk(0, "more"))).rejects.toMatchObject({ code: "failed_precondition" });
  expect(await after.append(open, chunk(4, "two\nthree\n", 3))).toBe(14);
  expect(textOf(await all(after, open))).toBe("one\ntwo\nthree\n");
});

test("a torn index is mended: no byte is lost, and the times that can be known stay", async () => {
  for (const harm of ["torn", "short", "gone", "zeros", "garbage", "too long"] as const) {
    const dir = tempDir();
    const before = await openAt(dir);
    await before.append(log, chunk(0, "one\n", 1));
    await before.append(log, chunk(4, "two\n", 2));
    await before.close();
    const base = join(dir, "run-1", "run-1.build.app.2");
    if (harm === "torn") truncateSync(`${base}.idx`, 16 + 5);
    if (harm === "short") truncateSync(`${base}.idx`, 16);
    if (harm === "gone") truncateSync(`${base}.idx`, 0);
    if (harm === "zeros") appendFileSync(`${base}.idx`, new Uint8Array(4096));
    if (harm === "garbage") appendFileSync(`${base}.idx`, new Uint8Array(40).fill(0xff));
    if (harm === "too long") truncateSync(`${base}.log`, 4);
    const kept = harm === "too long" ? "one\n" : "one\ntwo\n";

    const after = await openAt(dir);
    const chunks = await all(after);
    expect(textOf(chunks), harm).toBe(kept);
    if (harm !== "gone") expect(chunks[0], harm).toMatchObject({ offset: 0, timeMs: 1 });
    expect(await after.append(log, chunk(4, "two\nthree\n", 3))).toBe(14);
    await after.finish(log, "whole");
    const mended = await all(after);
    expect(textOf(mended), harm).toBe("one\ntwo\nthree\n");
    expect(
      mended.find(({ offset }) => offset === kept.length),
      harm,
    ).toMatchObject({ timeMs: 3 });
    await after.close();
    expect(textOf(await all(await openAt(dir))), harm).toBe("one\ntwo\nthree\n");
  }
});

test("bytes that arrived without being acknowledged before a crash are kept and not stored twice", async () => {
  const dir = tempDir();
  const before = await openAt(dir);
  await before.append(log, chunk(0, "one\n", 1));
  await before.close();
  appendFileSync(join(dir, "run-1", "run-1.build.app.2.log"), "tw");
  const after = await openAt(dir);
  expect(await after.append(log, chunk(4, "two\n", 2))).toBe(8);
  expect(textOf(await all(after))).toBe("one\ntwo\n");
});

test("a log in a gap has ended whatever a crash did to the bytes that came late", async () => {
  for (const harm of ["no entry", "no gap", "torn"] as const) {
    const dir = tempDir();
    const before = await openAt(dir);
    await before.append(log, chunk(0, "one\n", 1));
    await before.finish(log, "gap");
    await before.append(log, chunk(4, "two\n", 2));
    await before.close();
    const index = join(dir, "run-1", "run-1.build.app.2.idx");
    truncateSync(index, { "no entry": 2 * 16, "no gap": 3 * 16, torn: 3 * 16 + 7 }[harm]);
    const after = await openAt(dir);
    expect(await after.endOf(log), harm).toBe("gap");
    expect(await after.append(log, chunk(8, "three\n", 3)), harm).toBe(14);
    expect(textOf(await all(after)), harm).toBe("one\ntwo\nthree\n");
    await after.close();
    expect(await (await openAt(dir)).endOf(log), harm).toBe("gap");
  }
});

test("an index that outlived its log does not speak for the next one", async () => {
  const dir = tempDir();
  const before = await openAt(dir);
  await before.append(log, chunk(0, "one\n", 1));
  await before.append(log, chunk(4, "two\n", 2));
  await before.finish(log, "whole");
  await before.close();
  rmSync(join(dir, "run-1", "run-1.build.app.2.log"));
  const after = await openAt(dir);
  await after.append(log, chunk(0, "1234", 3));
  await after.append(log, chunk(4, "5678", 4));
  await after.close();
  const again = await openAt(dir);
  expect((await all(again)).map(({ timeMs }) => timeMs)).toEqual([3, 4]);
  expect(await again.append(log, chunk(8, "9"))).toBe(9);
});

test("a sync vouches only for what was written before it began", async () => {
  const file = await openLogFile(join(tempDir(), "run-1", "run-1.1"));
  await file.write(chunk(0, "one\n"));
  const synced = file.sync();
  await file.write(chunk(4, "two\n"));
  await synced;
  expect([file.syncedSize(), file.size()]).toEqual([4, 8]);
  await file.sync();
  expect(file.syncedSize()).toBe(8);
  await file.close();
});

test("after kill -9 every acknowledged byte is there and the writer resumes", async () => {
  const dir = tempDir();
  const writer = fileURLToPath(new URL("./log-writer.ts", import.meta.url));
  const child = spawn(process.execPath, [writer, dir], { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => void child.kill("SIGKILL"));
  const acknowledged = new Map<string, number>();
  let answers = 0;
  const exited = exitOf(child);
  for await (const line of createInterface({ input: child.stdout })) {
    const [executionId = "", size] = line.split(" ");
    acknowledged.set(executionId, Number(size));
    answers += 1;
    if (answers === 500) child.kill("SIGKILL");
  }
  await exited;
  expect(answers).toBeGreaterThanOrEqual(500);

  const store = await openAt(dir);
  expect(acknowledged.size).toBe(10);
  for (const [executionId, size] of acknowledged) {
    const name = { executionId, attempt: 1 };
    const text = textOf(await all(store, name));
    expect(text.length).toBeGreaterThanOrEqual(size);
    const expected = Array.from({ length: 1 + text.length / 7 }, (_, n) => String(n).padStart(6, "0")).join("\n");
    expect(text).toBe(`${expected}\n`.slice(0, text.length));
    expect(await store.append(name, chunk(text.length, "end"))).toBe(text.length + 3);
    await store.finish(name, "whole");
  }
});

test("more logs than may be open at once are written, followed and finished, with bounded descriptors", async () => {
  const dir = tempDir();
  const store = await openAt(dir);
  const descriptors = () => readdirSync("/proc/self/fd").length;
  const before = descriptors();
  const names = Array.from({ length: limits.openLogs + 150 }, (_, n) => ({
    executionId: `run-${n % 7}.${n}`,
    attempt: 1,
  }));
  let most = 0;
  const followed = names.map(async (name) => {
    const { signal } = new AbortController();
    return textOf(await Array.fromAsync(store.read(name, { offset: 0, follow: true, signal })));
  });
  await Promise.all(
    names.map(async (name, index) => {
      await store.append(name, chunk(0, "one\n"));
      await store.append(name, chunk(4, "two\n"));
      if (index % 16 === 0) most = Math.max(most, descriptors()); // the kernel lists hundreds of them each time
      await store.finish(name, "whole");
    }),
  );
  expect(new Set(await Promise.all(followed))).toEqual(new Set(["one\ntwo\n"]));
  expect(most - before).toBeLessThanOrEqual(2 * limits.openLogs + 10);
  await store.close();
  expect(descriptors()).toBeLessThanOrEqual(before);
});

test("closing ends followers with unavailable, keeps what was acknowledged, and may be repeated", async () => {
  const dir = tempDir();
  const store = await openAt(dir);
  await store.append(log, chunk(0, "one\n"));
  const { signal } = new AbortController();
  const reader = store.read(log, { offset: 0, follow: true, signal })[Symbol.asyncIterator]();
  await reader.next();
  const waiting = expect(reader.next()).rejects.toMatchObject({ code: "unavailable" });
  const late = store.append(log, chunk(4, "two\n"));
  await Promise.all([store.close(), store.close(), waiting]);
  expect(await late).toBe(8);
  await expect(store.append(log, chunk(8, "x"))).rejects.toMatchObject({ code: "unavailable" });
  expect(statSync(join(dir, "run-1", "run-1.build.app.2.log")).size).toBe(8);
});

test("the logs of a run that are removed are gone for who asks from then on, and may begin anew", async () => {
  const dir = tempDir();
  const store = await openAt(dir);
  const other: LogName = { executionId: "run-2.build.app", attempt: 1 };
  await store.append(log, chunk(0, "old"));
  await store.finish(log, "whole");
  await store.append(other, chunk(0, "other"));
  expect((await store.runs()).sort()).toEqual(["run-1", "run-2"]);
  await store.remove("run-1");
  await store.remove("run-1");
  expect(await store.runs()).toEqual(["run-2"]);
  expect([await all(store), await store.endOf(log)]).toEqual([[], undefined]);
  await store.append(log, chunk(0, "new"));
  expect([textOf(await all(store)), textOf(await all(store, other))]).toEqual(["new", "other"]);
});

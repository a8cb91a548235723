import { appendFileSync, chmodSync, lstatSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openBlobFiles } from "../../../agent/store/blob-files.ts";
import { digestOf } from "../../../shared/digest.ts";
import { tempDir } from "../../support/temp-dir.ts";

const data = Buffer.from("#!/bin/sh\necho hello\n");
const digest = digestOf(data);
const plain = { digest, executable: false };
const executable = { digest, executable: true };

async function* chunks(...parts: Uint8Array[]) {
  yield* parts;
}

describe("blobs as files", () => {
  test("are read-only, of one age, and have an executable variant", async () => {
    const files = openBlobFiles(tempDir());
    files.put({ digest, data });
    await files.makeExecutable(digest);
    const path = (await files.find(plain)) ?? "";
    const runnable = (await files.find(executable)) ?? "";
    expect(lstatSync(path).mode & 0o777).toBe(0o444);
    expect(lstatSync(runnable).mode & 0o777).toBe(0o555);
    expect(lstatSync(path).mtime.toISOString()).toBe("2000-01-01T00:00:00.000Z");
    expect(readFileSync(runnable)).toEqual(data);
  });

  test("with wrong bytes are refused and leave nothing", async () => {
    const files = openBlobFiles(tempDir());
    const signal = new AbortController().signal;
    expect(() => files.put({ digest, data: Buffer.from("other") })).toThrow(/the bytes given are/);
    await expect(files.write(digest, chunks(data, data), signal)).rejects.toMatchObject({ code: "invalid_argument" });
    await expect(files.write(digest, chunks(), signal)).rejects.toMatchObject({ code: "invalid_argument" });
    expect(await files.find(plain)).toBeUndefined();
    await files.write(digest, chunks(data.subarray(0, 3), data.subarray(3)), signal);
    expect(await files.find(plain)).toBeDefined();
  });

  test("that somebody wrote to are noticed and removed", async () => {
    const files = openBlobFiles(tempDir());
    files.put({ digest, data });
    const path = (await files.find(plain)) ?? "";
    appendFileSync(path, "more");
    expect(await files.find(plain)).toBeUndefined();
    files.put({ digest, data });
    chmodSync(path, 0o644);
    writeFileSync(
      path,
      data.map((byte) => byte ^ 1),
    ); // same size
    expect(await files.find(plain)).toBeUndefined();
  });

  test("that rotted while the agent was away are noticed by the next start", async () => {
    const folder = tempDir();
    const before = openBlobFiles(folder);
    before.put({ digest, data });
    const path = (await before.find(plain)) ?? "";
    const { mtime } = lstatSync(path);
    chmodSync(path, 0o644);
    writeFileSync(
      path,
      data.map((byte) => byte ^ 1),
    );
    utimesSync(path, mtime, mtime);
    expect(await openBlobFiles(folder).find(plain)).toBeUndefined();
  });

  test("that are whole are found by the next start", async () => {
    const folder = tempDir();
    openBlobFiles(folder).put({ digest, data });
    expect(await openBlobFiles(folder).find(plain)).toBeDefined();
  });

  test("are placed by link or by copy, and the empty one is always a file of its own", async () => {
    const files = openBlobFiles(tempDir());
    const target = tempDir();
    files.put({ digest, data });
    const path = (await files.find(plain)) ?? "";
    files.place(plain, join(target, "link"), "link");
    files.place(plain, join(target, "copy"), "copy");
    expect(lstatSync(join(target, "link")).ino).toBe(lstatSync(path).ino);
    expect(lstatSync(join(target, "copy")).ino).not.toBe(lstatSync(path).ino);
    expect(lstatSync(join(target, "copy")).mode & 0o777).toBe(0o444);
    mkdirSync(join(target, "d"));
    const empty = { digest: digestOf(new Uint8Array()), executable: true };
    files.place(empty, join(target, "d/one"), "link");
    files.place(empty, join(target, "d/two"), "link");
    expect(lstatSync(join(target, "d/one")).nlink).toBe(1);
    expect(lstatSync(join(target, "d/two")).mode & 0o777).toBe(0o555);
  });
});

import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { limits } from "../../../../shared/limits.ts";
import { scanTree } from "../../../../shared/merkle/scan.ts";
import { fileStatsOf } from "../../../../shared/stat-cache/file-stats.ts";
import { openStatCache } from "../../../../shared/stat-cache/sqlite-stat-cache.ts";
import { tempDir } from "../../../support/temp-dir.ts";

/** Well after everything that a test wrote, so that it is settled. */
const later = () => Date.now() + 60_000;

function setup() {
  const source = tempDir();
  const folder = join(tempDir(), "caches");
  mkdirSync(join(source, "src"));
  for (const name of ["a", "b", "src/c"]) writeFileSync(join(source, name), `first ${name}`);
  const problems: string[] = [];
  return {
    ...{ source, folder, problems },
    async scan(startedMs = later()) {
      const onProblem = ({ message }: Error) => void problems.push(message);
      const opening = openStatCache({ folder, source, startedMs, onProblem });
      const scanned = await scanTree(source, { known: opening });
      const cache = await opening;
      void cache.save(scanned); // close waits for it
      await cache.close();
      // Whatever was known, the snapshot is that of somebody who knows nothing.
      expect(scanned.tree).toEqual((await scanTree(source)).tree);
      return scanned.filesRead;
    },
    database: () => join(folder, readdirSync(folder).find((name) => name.endsWith(".sqlite")) ?? "none"),
  };
}

describe("a snapshot with a stat cache", () => {
  test("reads only what has changed", async () => {
    const { source, scan, problems } = setup();
    expect(await scan()).toBe(3);
    expect(await scan()).toBe(0);
    writeFileSync(join(source, "a"), "FIRST a");
    expect(await scan()).toBe(1);
    writeFileSync(join(source, "src/new"), "new");
    rmSync(join(source, "b"));
    renameSync(join(source, "src/c"), join(source, "src/d"));
    expect(await scan()).toBe(2);
    expect(await scan()).toBe(0);
    expect(problems).toEqual([]);
  });

  test("forgets folders that are gone", async () => {
    const { source, scan } = setup();
    await scan();
    renameSync(join(source, "src"), join(source, "lib"));
    expect(await scan()).toBe(1);
    rmSync(join(source, "lib"), { recursive: true });
    expect(await scan()).toBe(0);
  });

  test("remembers nothing of what is gone, though nothing else has changed", async () => {
    const { source, folder, scan, problems } = setup();
    await scan();
    const gone = ["b", "src/c"].map((path) => {
      return { path, stats: fileStatsOf(lstatSync(join(source, path), { bigint: true })) };
    });
    const known = async () => {
      const onProblem = ({ message }: Error) => void problems.push(message);
      const cache = await openStatCache({ folder, source, startedMs: later(), onProblem });
      const digests = gone.map(({ path, stats }) => cache.digestOf(path, stats)?.hash);
      await cache.close();
      return digests;
    };
    expect(await known()).toEqual([expect.any(String), expect.any(String)]);
    rmSync(join(source, "b"));
    expect(await scan()).toBe(0);
    expect(await known()).toEqual([undefined, expect.any(String)]);
    rmSync(join(source, "src"), { recursive: true });
    expect(await scan()).toBe(0);
    expect(await known()).toEqual([undefined, undefined]);
    expect(problems).toEqual([]);
  });

  test("reads again what was changed at about the time of the last one", async () => {
    const startedMs = Date.now(); // and by this clock it stays so, however slow the machine is
    const { source, scan } = setup();
    await scan(startedMs);
    for (let round = 0; round < 6; round++) {
      const { mtime, atime } = statSync(join(source, "a"));
      writeFileSync(join(source, "a"), `round ${round % 10}`); // of the same size, and within the same tick
      utimesSync(join(source, "a"), atime, mtime);
      expect(await scan(startedMs)).toBe(3);
    }
  });

  test("is not fooled by a modification time that was put back", async () => {
    const { source, scan } = setup();
    await scan();
    const { mtime, atime } = statSync(join(source, "a"));
    writeFileSync(join(source, "a"), "FIRST A");
    utimesSync(join(source, "a"), atime, mtime);
    expect(await scan()).toBe(1);
  });

  test("knows nothing after the clock went back, and says so", async () => {
    const { scan, problems } = setup();
    const startedMs = later();
    await scan(startedMs);
    expect(await scan(startedMs - 3_600_000)).toBe(3);
    expect(problems).toEqual(["every file is read: the clock went back since the last snapshot"]);
    expect(await scan(startedMs - 3_500_000)).toBe(3); // by that clock everything was changed in the future
    expect(await scan(startedMs)).toBe(3);
    expect(await scan(startedMs)).toBe(0);
    expect(problems).toHaveLength(1);
  });

  test("may be taken by several at a time", async () => {
    const { scan, problems } = setup();
    await scan();
    expect(await Promise.all(Array.from({ length: 4 }, () => scan()))).toEqual([0, 0, 0, 0]);
    expect(problems).toEqual([]);
  });
});

describe("a damaged stat cache", () => {
  test("with a flipped bit in a record is not trusted in that folder", async () => {
    const { source, scan, database, problems } = setup();
    await scan();
    const bytes = readFileSync(database());
    const at = bytes.indexOf(await hashBytes(source, "src/c"));
    expect(at).toBeGreaterThan(0);
    bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
    writeFileSync(database(), bytes);
    expect(await scan()).toBe(1);
    expect(problems).toEqual(['files were read again, the stat cache is damaged: folder "src"']);
    expect(await scan()).toBe(0);
  });

  test.each([
    ["truncated", (file: string) => truncateSync(file, 5_000)],
    ["no database", (file: string) => writeFileSync(file, "rubbish ".repeat(2_000))],
    ["overwritten in the middle", (file: string) => writeFileSync(file, overwritten(readFileSync(file)))],
  ])("that is %s is begun anew, and says so", async (_, damage) => {
    const { scan, database, problems } = setup();
    await scan();
    damage(database());
    expect(await scan()).toBe(3);
    expect(problems).toEqual([expect.stringMatching(/^every file is read: the stat cache is begun anew: /)]);
    expect(await scan()).toBe(0);
    expect(problems).toHaveLength(1);
  });

  test("that cannot be made costs nothing but time", async () => {
    const { scan, folder, problems } = setup();
    writeFileSync(folder, "a file in its place");
    expect(await scan()).toBe(3);
    expect(problems[0]).toMatch(/^every file is read: the stat cache cannot be used: /);
  });
});

test("stat caches of sources that were not used for longest make room", async () => {
  const { scan, folder } = setup();
  mkdirSync(folder);
  for (let index = 0; index < limits.statCachesKept + 5; index++) {
    const old = join(folder, `${index}.sqlite`);
    writeFileSync(old, "");
    utimesSync(old, index, index);
  }
  await scan();
  expect(readdirSync(folder)).toHaveLength(limits.statCachesKept);
  expect(existsSync(join(folder, "5.sqlite"))).toBe(false);
  expect(existsSync(join(folder, "6.sqlite"))).toBe(true);
});

async function hashBytes(source: string, path: string): Promise<Buffer> {
  const { scanned } = await scanTree(source);
  return Buffer.from(scanned.find((file) => file.path === path)?.digest.hash ?? "", "hex");
}

function overwritten(bytes: Buffer): Buffer {
  return bytes.fill(0xff, 4096, bytes.byteLength);
}

import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync, readdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { openAgentDatabase } from "../../../agent/database.ts";
import { Refused } from "../../../agent/executor/executor.ts";
import { type Mirror, openMirrors } from "../../../agent/source/mirrors.ts";
import { digestOf } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

async function setup(dir = tempDir()) {
  const clock = fakeClock();
  const errors: string[] = [];
  const onError = ({ message }: MillraceError) => void errors.push(message);
  const database = await openAgentDatabase({ path: join(dir, "agent.sqlite"), onError });
  onTestFinished(() => database.close());
  const folder = join(dir, "mirrors");
  const mirrors = await openMirrors({ database, folder, clock, onError });
  const use = <T>(name: string, work: (mirror: Mirror, signal: AbortSignal) => Promise<T>) => {
    clock.advance(1);
    return mirrors.use(`https://example.org/${name}.git`, new AbortController().signal, work);
  };
  return {
    clock,
    errors,
    database,
    folder,
    use,
    kept: () => readdirSync(folder).sort((a, b) => Number(a) - Number(b)),
  };
}

const nothing = async ({ folder }: Mirror) => basename(folder);

/** Takes no room, but counts as if it did. */
function sparse(file: string, sizeBytes: number): void {
  const descriptor = openSync(file, "w");
  ftruncateSync(descriptor, sizeBytes);
  closeSync(descriptor);
}

test("the repository that was unused for longest makes room for one more, with all that is known of it", async () => {
  const { use, kept, database } = await setup();
  await use("r0", async ({ objects }) => {
    await objects.add(new Map([["a".repeat(40), { digest: digestOf(Buffer.from("x")), climb: 0, type: "blob" }]]));
  });
  for (let i = 1; i < limits.mirrorsKept; i += 1) await use(`r${i}`, nothing);
  await use("r1", nothing);
  expect(kept().length).toBe(limits.mirrorsKept);
  await use("more", nothing);
  expect(kept()).not.toContain("1");
  expect(await database.query("SELECT * FROM git_object")).toEqual([]);
  await use("more2", nothing);
  expect(kept()).toContain("2"); // r1 was used again, r2 was not
  expect(kept()).not.toContain("3");
});

test("mirrors that are too large together go, the last used one stays", async () => {
  const { use, kept } = await setup();
  const half = async ({ folder }: Mirror) => sparse(join(folder, "pack"), limits.mirrorsBytes * 0.45);
  await use("a", half);
  await use("b", half);
  expect(kept()).toEqual(["1", "2"]);
  await use("c", half);
  expect(kept()).toEqual(["2", "3"]);
});

test("a mirror that grows beyond its bound is refused while it is fetched, and goes", async () => {
  const { use, clock, kept } = await setup();
  const grown = Promise.withResolvers<void>();
  const done = use("bomb", async ({ folder }, signal) => {
    sparse(join(folder, "pack"), limits.mirrorBytes + 1);
    grown.resolve();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    throw signal.reason;
  });
  const refused = expect(done).rejects.toThrow(Refused);
  await grown.promise;
  clock.advance(limits.mirrorCheckMs);
  await refused;
  expect(kept()).toEqual([]);
});

test("a mirror with many fetches behind it is made anew", async () => {
  const { use } = await setup();
  const fetchAll = async ({ folder, fetched }: Mirror) => {
    for (let i = 0; i < limits.mirrorFetches; i += 1) fetched();
    return basename(folder);
  };
  expect(await use("busy", fetchAll)).toBe("1");
  const next = await use("busy", nothing);
  expect(next).not.toBe("1");
  expect(await use("busy", nothing)).toBe(next);
});

test("work on a damaged mirror is done once more on a new one, other failures are not", async () => {
  const { use, errors } = await setup();
  const folders: string[] = [];
  const failing = (code: "data_loss" | "unavailable") => async (mirror: Mirror) => {
    folders.push(basename(mirror.folder));
    throw new MillraceError(code, "broken");
  };
  await expect(use("a", failing("data_loss"))).rejects.toThrow("broken");
  expect(new Set(folders).size).toBe(2);
  expect(errors).toEqual(["the mirror of https://example.org/a.git is made anew: broken"]);
  await expect(use("a", failing("unavailable"))).rejects.toThrow("broken");
  expect(folders.slice(1)).toEqual([folders[1], folders[1]]);
});

test("a start removes what an earlier one had begun to remove, and goes on with the rest", async () => {
  const dir = tempDir();
  const first = await setup(dir);
  await first.use("a", async ({ folder }) => writeFileSync(join(folder, "HEAD"), "ref"));
  mkdirSync(join(first.folder, "77/objects"), { recursive: true });
  await first.database.close();
  const second = await setup(dir);
  expect(second.kept()).toEqual(["1"]);
  expect(await second.use("a", async ({ folder }) => existsSync(join(folder, "HEAD")))).toBe(true);
});

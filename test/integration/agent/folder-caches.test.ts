import { mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import { openCacheShelf } from "../../../agent/caches/cache-shelf.ts";
import { folderCaches } from "../../../agent/caches/folder-caches.ts";
import type { HeldCache } from "../../../agent/caches/named-caches.ts";
import { openAgentDatabase } from "../../../agent/database.ts";
import { NamedCachesSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { limits } from "../../../shared/limits.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

/** The caches of one start of an agent. */
async function start(data: string, clock = fakeClock()) {
  const errors: string[] = [];
  const onError = ({ message }: Error) => void errors.push(message);
  const database = await openAgentDatabase({ path: join(data, "agent.sqlite"), onError });
  const shelf = await openCacheShelf({ database, folder: join(data, "caches"), clock, onError });
  let kept = 0;
  let moment = 1_800_000_000;
  const caches = folderCaches({ shelf, onKept: () => kept++, onError });
  let closed = false;
  async function stop() {
    if (closed) return;
    closed = true;
    await caches.close();
    await database.close();
  }
  onTestFinished(stop);
  const hold = async (name = "npm"): Promise<HeldCache> => {
    const declaration = create(NamedCachesSchema, { project: "shop", caches: [{ name, path: "c" }] });
    const [held] = await caches.hold(declaration, []);
    if (held === undefined) throw new Error("nothing is held");
    return held;
  };
  return {
    ...{ shelf, caches, errors, stop, hold },
    kept: () => kept,
    /** A task that finds the cache as it is and leaves these files in it. */
    async leave(files: Readonly<Record<string, string>>, name = "npm", look = () => {}): Promise<void> {
      const held = await hold(name);
      const path = tempDir();
      mkdirSync(join(path, "c"));
      moment += 1; // two that come within a tick of the kernel's clock would seem to have written nothing new
      for (const [file, text] of Object.entries(files)) {
        writeFileSync(join(path, "c", file), text);
        utimesSync(join(path, "c", file), moment, moment);
      }
      await caches.keep([held], {
        look: async () => {
          look();
          return { path, close: async () => {} };
        },
      });
      held.release();
    },
    /** What a task finds. */
    async find(name = "npm"): Promise<Record<string, string>> {
      const held = await hold(name);
      const folder = held.layer === undefined ? undefined : join(held.layer, "c");
      held.release();
      if (folder === undefined) return {};
      return Object.fromEntries(readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), "utf8")]));
    },
    /** Folders of versions on disk. */
    versions: () =>
      readdirSync(join(data, "caches")).flatMap((id) =>
        readdirSync(join(data, "caches", id)).map((version) => join(data, "caches", id, version)),
      ),
  };
}

test("what was kept is there in the next start, with its size, and nothing that a crash left besides", async () => {
  const data = tempDir();
  const first = await start(data);
  await first.leave({ a: "1", b: "22" });
  await first.leave({ a: "1", b: "333" });
  expect(first.shelf.bytes()).toBe(4);
  await first.stop();
  const [version = ""] = first.versions();
  mkdirSync(join(version, "../half/c"), { recursive: true });
  mkdirSync(join(data, "caches/unknown/half"), { recursive: true });
  const second = await start(data);
  expect(second.shelf.bytes()).toBe(4);
  expect(await second.find()).toEqual({ a: "1", b: "333" });
  await second.stop();
  expect(second.versions()).toEqual([version]);
  expect(second.errors).toEqual([]);
});

test("a folder that a task left empty is not kept, and takes what was kept with it", async () => {
  const { leave, find, kept, shelf } = await start(tempDir());
  await leave({});
  expect(kept()).toBe(0);
  await leave({ a: "1" });
  expect(kept()).toBe(1);
  await leave({});
  expect(await find()).toEqual({});
  expect(shelf.bytes()).toBe(0);
});

describe("a cache is dropped, and said, when it", () => {
  test.each<[string, (folder: string) => void]>([
    ["lost a file", (folder) => rmSync(join(folder, "a"))],
    ["was cut short", (folder) => truncateSync(join(folder, "a"), 1)],
    ["was written to", (folder) => writeFileSync(join(folder, "a"), "evil")],
    ["has more than it had", (folder) => writeFileSync(join(folder, "more"), "")],
    ["has no content any more", (folder) => rmSync(folder, { recursive: true })],
  ])("%s", async (_, damage) => {
    const data = tempDir();
    const first = await start(data);
    await first.leave({ a: "good", b: "good" });
    await first.stop();
    damage(join(first.versions()[0] ?? "", "c"));
    const second = await start(data);
    expect(await Promise.all([second.find(), second.find()])).toEqual([{}, {}]);
    expect(second.errors[0]).toContain('the named cache "npm" of project "shop" is not what was kept');
    await second.leave({ a: "new" });
    expect(await second.find()).toEqual({ a: "new" });
    await second.stop();
    expect(second.versions()).toHaveLength(1);
  });
});

test("a lost database loses the caches and their folders, nothing else", async () => {
  const data = tempDir();
  const first = await start(data);
  await first.leave({ a: "1" });
  await first.stop();
  for (const suffix of ["", "-wal", "-shm"]) rmSync(join(data, `agent.sqlite${suffix}`), { force: true });
  const second = await start(data);
  expect(await second.find()).toEqual({});
  await second.stop();
  expect(second.versions()).toEqual([]);
});

test("a cache that is held stays where it is, whatever takes its place or evicts it", async () => {
  const agent = await start(tempDir());
  await agent.leave({ a: "1" });
  const held = await agent.hold();
  await agent.leave({ a: "2" });
  expect(readFileSync(join(held.layer ?? "", "c/a"), "utf8")).toBe("1");
  expect(agent.versions()).toHaveLength(2);
  const [idle] = [...agent.shelf.idle()];
  const newer = await agent.hold();
  expect([...agent.shelf.idle()]).toEqual([]);
  await agent.shelf.evict([idle?.id ?? ""]);
  expect(await agent.find()).toEqual({ a: "2" });
  newer.release();
  held.release();
  await agent.shelf.evict([idle?.id ?? ""]);
  expect(await agent.find()).toEqual({});
  expect(agent.shelf.bytes()).toBe(0);
  await agent.stop();
  expect(agent.versions()).toEqual([]);
});

test("what cannot be looked at stays as it was, and is said", async () => {
  const agent = await start(tempDir());
  await agent.leave({ a: "1" });
  await agent.leave({ a: "2" }, "npm", () => {
    throw new Error("the runner has gone");
  });
  expect(await agent.find()).toEqual({ a: "1" });
  expect(agent.errors).toEqual(['the named cache "npm" of project "shop" stays as it was: the runner has gone']);
});

test("an agent keeps a bounded number of caches, those used last", async () => {
  const clock = fakeClock();
  const agent = await start(tempDir(), clock);
  for (let index = 0; index < limits.namedCachesKept; index++) {
    clock.advance(1);
    await agent.leave({ a: "1" }, `c${index}`);
  }
  clock.advance(1);
  expect(await agent.find("c0")).toEqual({ a: "1" });
  clock.advance(1);
  await agent.leave({ a: "1" }, "one-more");
  expect(await agent.find("c0")).toEqual({ a: "1" });
  expect(await agent.find("c1")).toEqual({});
  expect(await agent.find("one-more")).toEqual({ a: "1" });
  expect([...agent.shelf.idle()]).toHaveLength(limits.namedCachesKept);
});

import { expect, test } from "vitest";
import { handlePool } from "../../../../../coordinator/farm/logs/handle-pool.ts";

function setup(max: number) {
  const open = new Set<string>();
  const history: string[] = [];
  let most = 0;
  const pool = handlePool<string>({
    max,
    async open(name) {
      if (name === "bad") throw new Error("cannot open bad");
      history.push(`+${name}`);
      open.add(name);
      most = Math.max(most, open.size);
      return name;
    },
    async close(name) {
      history.push(`-${name}`);
      open.delete(name);
    },
  });
  return { pool, open, history, most: () => most };
}

const nothing = async () => undefined;

test("what is used again stays open, and the least recently used makes room", async () => {
  const { pool, history } = setup(2);
  for (const name of ["a", "b", "a", "c", "a", "b"]) await pool.use(name, nothing);
  expect(history).toEqual(["+a", "+b", "-b", "+c", "-c", "+b"]);
});

test("callers wait while all are in use, share what they have in common, and never exceed the bound", async () => {
  const { pool, open, most } = setup(3);
  const used = await Promise.all(
    Array.from({ length: 100 }, (_, n) =>
      pool.use(`log ${n % 10}`, async (name) => {
        expect(open.has(name)).toBe(true);
        await new Promise(setImmediate);
        expect(open.has(name)).toBe(true);
        return name;
      }),
    ),
  );
  expect(used).toEqual(Array.from({ length: 100 }, (_, n) => `log ${n % 10}`));
  expect(most()).toBe(3);
});

test("one that cannot be opened fails its callers and takes no place", async () => {
  const { pool } = setup(1);
  const attempts = ["bad", "bad", "good", "bad"].map((name) => pool.use(name, async (thing) => thing));
  const results = await Promise.allSettled(attempts);
  expect(results.map(({ status }) => status)).toEqual(["rejected", "rejected", "fulfilled", "rejected"]);
});

test("close waits for those in use", async () => {
  const { pool, open } = setup(2);
  const end = Promise.withResolvers<void>();
  const using = pool.use("a", () => end.promise);
  await pool.use("b", nothing);
  const closed = pool.close().then(() => "closed");
  expect(await Promise.race([closed, new Promise((resolve) => setImmediate(resolve, "waits"))])).toBe("waits");
  end.resolve();
  await using;
  expect(await closed).toBe("closed");
  expect(open.size).toBe(0);
});

test("what is dropped is closed once nobody uses it, and is opened anew for who comes later", async () => {
  const { pool, history } = setup(3);
  await pool.use("idle", nothing);
  const release = Promise.withResolvers<void>();
  const using = pool.use("used", () => release.promise);
  await pool.drop((name) => name !== "other");
  expect(history).toEqual(["+idle", "+used", "-idle"]);
  await pool.use("used", nothing);
  release.resolve();
  await using;
  expect(history).toEqual(["+idle", "+used", "-idle", "+used", "-used"]);
  await pool.close();
  expect(history.at(-1)).toBe("-used");
});

import fc from "fast-check";
import { describe, expect, onTestFinished, test } from "vitest";
import type { LogChunk, LogName, LogStore } from "../../coordinator/farm/logs/log-store.ts";
import { runs as times } from "../support/property-runs.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const textOf = (chunks: readonly LogChunk[]) => Buffer.concat(chunks.map(({ data }) => data)).toString();
const log: LogName = { executionId: "run-1.build", attempt: 1 };

const chunk = (offset: number, text: string, timeMs = 1_000) => ({ offset, data: bytes(text), timeMs });

async function all(store: LogStore, name = log, offset = 0): Promise<LogChunk[]> {
  const { signal } = new AbortController();
  return Array.fromAsync(store.read(name, { offset, follow: false, signal }));
}

/** A follower, what it has seen so far, and its end. */
function follow(store: LogStore, offset = 0) {
  const stop = new AbortController();
  onTestFinished(() => stop.abort());
  const chunks: LogChunk[] = [];
  let news = Promise.withResolvers<void>();
  const ended = (async () => {
    for await (const each of store.read(log, { offset, follow: true, signal: stop.signal })) {
      chunks.push(each);
      news.resolve();
      news = Promise.withResolvers();
    }
  })();
  const until = async (text: string) => {
    while (textOf(chunks) !== text) await news.promise;
  };
  return { chunks, until, ended, stop };
}

/** What every adapter of LogStore promises. `open` is called once a test and gives an empty store. */
export function logStoreConformance(name: string, open: () => Promise<LogStore>): void {
  describe(`${name} as a log store`, () => {
    test("gives back the bytes and the time of each chunk", async () => {
      const store = await open();
      expect(await store.append(log, chunk(0, "one\n", 1_000))).toBe(4);
      expect(await store.append(log, chunk(4, "two\n", 2_000.5))).toBe(8);
      const chunks = await all(store);
      expect(chunks.map(({ offset, data, timeMs }) => [offset, Buffer.from(data).toString(), timeMs])).toEqual([
        [0, "one\n", 1_000],
        [4, "two\n", 2_000.5],
      ]);
    });

    test("reads from any offset, in the middle of a chunk too", async () => {
      const store = await open();
      await store.append(log, chunk(0, "one\n", 1));
      await store.append(log, chunk(4, "two\n", 2));
      for (let offset = 0; offset <= 8; offset += 1) {
        const chunks = await all(store, log, offset);
        expect(textOf(chunks)).toBe("one\ntwo\n".slice(offset));
        if (offset < 8) expect(chunks[0]).toMatchObject({ offset, timeMs: offset < 4 ? 1 : 2 });
      }
      expect(await all(store, log, 9)).toEqual([]);
    });

    test("a log that does not exist is empty, and so is one that was finished without a byte", async () => {
      const store = await open();
      expect(await all(store)).toEqual([]);
      await store.finish(log, "whole");
      expect(await all(store)).toEqual([]);
      await follow(store).ended;
    });

    test("skips what is there already and tells the writer where to resume after a gap", async () => {
      const store = await open();
      expect(await store.append(log, chunk(5, "too far"))).toBe(0);
      expect(await store.append(log, chunk(0, "hello"))).toBe(5);
      expect(await store.append(log, chunk(0, "hello"))).toBe(5);
      expect(await store.append(log, chunk(1, "ell"))).toBe(5);
      expect(await store.append(log, chunk(3, "lo, world"))).toBe(12);
      expect(await store.append(log, chunk(13, "gap"))).toBe(12);
      expect(await store.append(log, chunk(12, ""))).toBe(12);
      expect(textOf(await all(store))).toBe("hello, world");
    });

    test("any sequence of resends, overlaps and gaps gives the writer's bytes", async () => {
      const output = Buffer.from(Array.from({ length: 300 }, (_, n) => n % 256));
      const store = await open();
      let runs = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(fc.tuple(fc.nat(299), fc.nat(120))), fc.nat(310), async (pieces, offset) => {
          runs += 1;
          const name = { executionId: `run-1.${runs}`, attempt: 1 };
          let size = 0;
          for (const [from, length] of pieces) {
            const data = output.subarray(from, from + length);
            if (from <= size) size = Math.max(size, from + data.byteLength);
            expect(await store.append(name, { offset: from, data, timeMs: 1 })).toBe(size);
          }
          const stored = Buffer.concat((await all(store, name, offset)).map(({ data }) => data));
          expect(stored.equals(output.subarray(offset, Math.max(size, offset)))).toBe(true);
        }),
        { numRuns: times(40) },
      );
    });

    test("appends made at the same time end up in their order", async () => {
      const store = await open();
      const lines = Array.from({ length: 500 }, (_, n) => `line ${n}\n`);
      let offset = 0;
      const sizes = await Promise.all(
        lines.map((line) => {
          const stored = store.append(log, chunk(offset, line));
          offset += line.length;
          return stored;
        }),
      );
      expect(sizes.at(-1)).toBe(offset);
      expect(textOf(await all(store))).toBe(lines.join(""));
    });

    test("attempts of one execution, and executions of one run, are apart", async () => {
      const store = await open();
      const names = ["run-1.a", "run-1.a.1", "run-1", "run-10"].flatMap((executionId) =>
        [1, 2, 11].map((attempt) => ({ executionId, attempt })),
      );
      for (const name of names) await store.append(name, chunk(0, `${name.executionId}#${name.attempt}`));
      for (const name of names) expect(textOf(await all(store, name))).toBe(`${name.executionId}#${name.attempt}`);
    });

    test("large chunks and many small ones come back whole, in pieces of bounded size", async () => {
      const store = await open();
      const large = Buffer.alloc(3_000_000, "0123456789abcdef");
      await store.append(log, { offset: 0, data: large, timeMs: 1 });
      const small = Array.from({ length: 700 }, (_, n) => store.append(log, chunk(large.length + n, "x", 2 + n)));
      expect(await Promise.all(small)).toHaveLength(700);
      const chunks = await all(store);
      expect(textOf(chunks)).toBe(large.toString() + "x".repeat(700));
      expect(Math.max(...chunks.map(({ data }) => data.byteLength))).toBe(65_536);
      expect(chunks.at(-1)).toMatchObject({ offset: large.length + 699, timeMs: 701 });
    });

    test("a finished log keeps its bytes, takes no more, and may be finished again", async () => {
      const store = await open();
      await store.append(log, chunk(0, "all"));
      await store.finish(log, "whole");
      await store.finish(log, "whole");
      expect(await store.append(log, chunk(0, "all"))).toBe(3);
      await expect(store.append(log, chunk(3, "more"))).rejects.toMatchObject({ code: "failed_precondition" });
      expect(textOf(await all(store))).toBe("all");
    });

    test("a log that ends in a gap takes what comes late, keeps the gap behind it, and can become whole", async () => {
      const store = await open();
      expect(await store.endOf(log)).toBeUndefined();
      await store.append(log, chunk(0, "one\n", 1));
      const early = follow(store);
      await store.finish(log, "gap");
      await store.finish(log, "gap");
      await early.ended;
      expect([textOf(early.chunks), await store.endOf(log)]).toEqual(["one\n", "gap"]);
      expect(await store.append(log, chunk(0, "one\n"))).toBe(4);
      expect(await store.append(log, chunk(4, "two\n", 2))).toBe(8);
      expect(await store.append(log, chunk(6, "o\nthree\n", 3))).toBe(14);
      const late = follow(store);
      await late.ended;
      expect([textOf(late.chunks), await store.endOf(log)]).toEqual(["one\ntwo\nthree\n", "gap"]);
      expect(late.chunks.map(({ offset, timeMs }) => [offset, timeMs])).toEqual([
        [0, 1],
        [4, 2],
        [8, 3],
      ]);
      await store.finish(log, "whole");
      await store.finish(log, "gap");
      expect(await store.endOf(log)).toBe("whole");
      await expect(store.append(log, chunk(14, "four"))).rejects.toMatchObject({ code: "failed_precondition" });
      expect(textOf(await all(store))).toBe("one\ntwo\nthree\n");
    });

    test("a reader in the midst of late bytes misses none, wherever the gaps were", async () => {
      const store = await open();
      await store.finish(log, "gap");
      let output = "";
      for (let n = 0; n < 40; n += 1) {
        const text = textOf(await all(store, log, Math.floor(output.length / 2)));
        expect(text).toBe(output.slice(Math.floor(output.length / 2)));
        await store.append(log, chunk(output.length, `line ${n}\n`));
        output += `line ${n}\n`;
      }
      expect([textOf(await all(store)), await store.endOf(log)]).toEqual([output, "gap"]);
    });

    test("followers see what is there and what comes, from before the first byte to the end", async () => {
      const store = await open();
      const early = Array.from({ length: 20 }, () => follow(store));
      await store.append(log, chunk(0, "one\n"));
      await Promise.all(early.map(({ until }) => until("one\n")));
      const late = [follow(store), follow(store, 2), follow(store, 4), follow(store, 6)];
      await store.append(log, chunk(4, "two\n"));
      await store.append(log, chunk(8, "three\n"));
      await store.finish(log, "whole");
      await Promise.all([...early, ...late].map(({ ended }) => ended));
      for (const { chunks } of early) expect(textOf(chunks)).toBe("one\ntwo\nthree\n");
      expect(late.map(({ chunks }) => textOf(chunks))).toEqual([
        "one\ntwo\nthree\n",
        "e\ntwo\nthree\n",
        "two\nthree\n",
        "o\nthree\n",
      ]);
    });

    test("a follower of a finished log gets it all and ends", async () => {
      const store = await open();
      await store.append(log, chunk(0, "all"));
      await store.finish(log, "whole");
      const late = follow(store);
      await late.ended;
      expect(textOf(late.chunks)).toBe("all");
    });

    test("followers who join and resume in the midst of appends miss no byte and see none twice", async () => {
      const store = await open();
      const followers: ReturnType<typeof follow>[] = [];
      let output = "";
      for (let n = 0; n < 200; n += 1) {
        if (n % 10 === 0) followers.push(follow(store));
        const line = `line ${n}\n`;
        const stored = store.append(log, chunk(output.length, line));
        if (n % 7 === 0) await stored;
        output += line;
      }
      await store.append(log, chunk(output.length, ""));
      await store.finish(log, "whole");
      await Promise.all(followers.map(({ ended }) => ended));
      for (const { chunks } of followers) expect(textOf(chunks)).toBe(output);
    });

    test("aborting ends a follower that waits, and the others go on", async () => {
      const store = await open();
      const [leaver, stayer] = [follow(store), follow(store)];
      await store.append(log, chunk(0, "one"));
      await Promise.all([leaver.until("one"), stayer.until("one")]);
      leaver.stop.abort();
      await leaver.ended;
      await store.append(log, chunk(3, "two"));
      await stayer.until("onetwo");
      expect(textOf(leaver.chunks)).toBe("one");
    });

    test.each(["", ".", "..", "../etc/passwd", "a/b", "/etc", ".hidden", "a\0b", "a b", "é", "x".repeat(201)])(
      "refuses %j as an execution id",
      async (executionId) => {
        const store = await open();
        const refusal = { code: "invalid_argument" };
        const name = { executionId, attempt: 1 };
        await expect(async () => store.append(name, chunk(0, "x"))).rejects.toMatchObject(refusal);
        await expect(async () => store.finish(name, "whole")).rejects.toMatchObject(refusal);
        await expect(async () => all(store, name)).rejects.toMatchObject(refusal);
      },
    );

    test.each([0, -1, 1.5, Number.NaN])("refuses %d as an attempt and, but for 0, as an offset", async (number) => {
      const store = await open();
      const refusal = { code: "invalid_argument" };
      await expect(async () => store.append({ ...log, attempt: number }, chunk(0, "x"))).rejects.toMatchObject(refusal);
      if (number === 0) return;
      await expect(async () => store.append(log, chunk(number, "x"))).rejects.toMatchObject(refusal);
      await expect(async () => all(store, log, number)).rejects.toMatchObject(refusal);
    });
  });
}

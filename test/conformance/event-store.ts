import { create } from "@bufbuild/protobuf";
import { describe, expect, onTestFinished, test } from "vitest";
import {
  type EventStore,
  emptyStream,
  type StoredCommit,
  type StreamToken,
} from "../../coordinator/store/event-store.ts";
import { eventVersion } from "../../coordinator/store/upcast.ts";
import { type Commit, CommitSchema } from "../../proto/gen/millrace/v1/event_pb.ts";

/** A commit of events that are told apart by their principals, in the newest form, as every store gives them. */
export function commitOf(...principals: string[]): Commit {
  const events = principals.map((principal) => ({ principal, project: "test", version: eventVersion }));
  return create(CommitSchema, { events });
}

const principalsOf = (commits: readonly StoredCommit[]) =>
  commits.map(({ commit }) => commit.events.map(({ principal }) => principal).join("+"));

/** Reads a subscription until it has given `count` commits. */
async function take(store: EventStore, after: number, count: number): Promise<StoredCommit[]> {
  const stop = new AbortController();
  const taken: StoredCommit[] = [];
  try {
    for await (const commit of store.subscribe(after, stop.signal)) if (taken.push(commit) === count) break;
    return taken;
  } finally {
    stop.abort();
  }
}

/** What every adapter of EventStore promises. `open` is called once a test and gives an empty store. */
export function eventStoreConformance(name: string, open: () => Promise<EventStore>): void {
  describe(`${name} as an event store`, () => {
    test("an unknown stream is empty and takes its first commit on the empty token", async () => {
      const store = await open();
      expect(await store.read("run-1")).toEqual({ commits: [], token: emptyStream });
      const token = await store.append("run-1", emptyStream, commitOf("a", "b"));
      const read = await store.read("run-1");
      expect(read.token).toBe(token);
      expect(read.commits).toEqual([
        {
          stream: "run-1",
          position: expect.any(Number),
          firstSequence: 1,
          lastSequence: 2,
          commit: commitOf("a", "b"),
        },
      ]);
    });

    test("events are numbered through the commits of a stream, streams apart from one another", async () => {
      const store = await open();
      let token = await store.append("run-1", emptyStream, commitOf("a", "b", "c"));
      await store.append("run-2", emptyStream, commitOf("x"));
      token = await store.append("run-1", token, commitOf("d"));
      token = await store.append("run-1", token, commitOf("e", "f"));
      const { commits, token: last } = await store.read("run-1");
      expect(commits.map(({ firstSequence }) => firstSequence)).toEqual([1, 4, 5]);
      expect(principalsOf(commits)).toEqual(["a+b+c", "d", "e+f"]);
      expect(last).toBe(token);
      expect(principalsOf((await store.read("run-2")).commits)).toEqual(["x"]);
    });

    test("a decision on an old state is refused with aborted and leaves nothing behind", async () => {
      const store = await open();
      const first = await store.append("run-1", emptyStream, commitOf("a"));
      await store.append("run-1", first, commitOf("b", "c"));
      for (const stale of [emptyStream, first]) {
        await expect(store.append("run-1", stale, commitOf("late"))).rejects.toMatchObject({
          code: "aborted",
          message: expect.stringContaining("run-1"),
        });
      }
      expect(principalsOf((await store.read("run-1")).commits)).toEqual(["a", "b+c"]);
    });

    test("the token of another, longer stream is refused", async () => {
      const store = await open();
      await store.append("run-1", emptyStream, commitOf("a"));
      const foreign = await store.append("run-2", emptyStream, commitOf("x", "y", "z"));
      await expect(store.append("run-1", foreign, commitOf("b"))).rejects.toMatchObject({ code: "aborted" });
    });

    test("a commit without events and a token that no store gave are refused", async () => {
      const store = await open();
      const refusal = { code: "invalid_argument" };
      await expect(store.append("run-1", emptyStream, commitOf())).rejects.toMatchObject(refusal);
      await expect(store.append("run-1", "1 OR 1" as StreamToken, commitOf("a"))).rejects.toMatchObject(refusal);
    });

    test("of 50 appends on one token exactly one wins", async () => {
      const store = await open();
      const token = await store.append("run-1", emptyStream, commitOf("start"));
      const results = await Promise.allSettled(
        Array.from({ length: 50 }, (_, n) => store.append("run-1", token, commitOf(`writer ${n}`, "second"))),
      );
      const refused = results.filter((result) => result.status === "rejected");
      expect(refused).toHaveLength(49);
      for (const { reason } of refused) expect(reason).toMatchObject({ code: "aborted" });
      const winner = results.findIndex(({ status }) => status === "fulfilled");
      expect(principalsOf((await store.read("run-1")).commits)).toEqual(["start", `writer ${winner}+second`]);
    });

    test("writers who read again after aborted all get through, one after the other", async () => {
      const store = await open();
      const write = async (writer: number): Promise<void> => {
        const { token } = await store.read("run-1");
        await store.append("run-1", token, commitOf(`writer ${writer}`)).catch((error: unknown) => {
          expect(error).toMatchObject({ code: "aborted" });
          return write(writer);
        });
      };
      await Promise.all(Array.from({ length: 10 }, (_, writer) => write(writer)));
      const { commits } = await store.read("run-1");
      expect(commits.map(({ firstSequence }) => firstSequence)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      expect(new Set(principalsOf(commits)).size).toBe(10);
    });

    test("a subscription gives what is there, then what comes, in the order of positions", async () => {
      const store = await open();
      await store.append("run-1", emptyStream, commitOf("a"));
      await store.append("run-2", emptyStream, commitOf("b"));
      const taken = take(store, 0, 4);
      await store.append("run-3", emptyStream, commitOf("c"));
      await store.append("run-4", emptyStream, commitOf("d"));
      const commits = await taken;
      expect(commits.map(({ stream }) => stream)).toEqual(["run-1", "run-2", "run-3", "run-4"]);
      const positions = commits.map(({ position }) => position);
      expect(positions).toEqual([...positions].sort((a, b) => a - b));
      expect(await take(store, positions[1] ?? 0, 2)).toEqual(commits.slice(2));
    });

    test("the head is the position of the last commit of all", async () => {
      const store = await open();
      expect(await store.head()).toBe(0);
      await store.append("run-2", emptyStream, commitOf("a"));
      await store.append("run-1", emptyStream, commitOf("b"));
      const [, last] = await take(store, 0, 2);
      expect(await store.head()).toBe(last?.position);
    });

    test("subscriptions joined in the midst of appends have no gap and no duplicate", async () => {
      const store = await open();
      const total = 3_000;
      const writers = 20;
      const watchers: Promise<StoredCommit[]>[] = [];
      await Promise.all(
        Array.from({ length: writers }, async (_, writer) => {
          let token = emptyStream;
          for (let n = 0; n < total / writers; n += 1) {
            token = await store.append(`run-${writer}`, token, commitOf(`${n}`));
            if (n % 10 === 0) watchers.push(take(store, 0, total));
          }
        }),
      );
      const [first, ...others] = await Promise.all(watchers);
      if (first === undefined) throw new Error("nobody watched");
      expect(new Set(first.map(({ position }) => position)).size).toBe(total);
      for (let writer = 0; writer < writers; writer += 1) {
        const own = first.filter(({ stream }) => stream === `run-${writer}`);
        expect(own.map(({ firstSequence }) => firstSequence)).toEqual(own.map((_, index) => index + 1));
      }
      const positions = first.map(({ position }) => position);
      for (const other of others) expect(other.map(({ position }) => position)).toEqual(positions);
    });

    test("a watcher who stands still while much happens reads it all afterwards", async () => {
      const store = await open();
      const stop = new AbortController();
      onTestFinished(() => stop.abort());
      const slow = store.subscribe(0, stop.signal)[Symbol.asyncIterator]();
      let token = await store.append("run-1", emptyStream, commitOf("0"));
      const seen = [(await slow.next()).value?.firstSequence];
      const quick = take(store, 0, 4_000);
      for (let n = 1; n < 4_000; n += 1) token = await store.append("run-1", token, commitOf(`${n}`));
      await quick;
      while (seen.length < 4_000) seen.push((await slow.next()).value?.firstSequence);
      expect(seen).toEqual(Array.from({ length: 4_000 }, (_, n) => n + 1));
    });

    test("a subscription beyond the end waits for what comes after that position only", async () => {
      const store = await open();
      await store.append("run-1", emptyStream, commitOf("a"));
      const [a] = await take(store, 0, 1);
      const taken = take(store, a?.position ?? 0, 1);
      await store.append("run-2", emptyStream, commitOf("b"));
      expect(principalsOf(await taken)).toEqual(["b"]);
    });

    test("an aborted subscription ends without an error, also one that waits", async () => {
      const store = await open();
      await store.append("run-1", emptyStream, commitOf("a"));
      const stop = new AbortController();
      const seen: string[] = [];
      const watching = (async () => {
        for await (const { stream } of store.subscribe(0, stop.signal)) seen.push(stream);
      })();
      await take(store, 0, 1);
      stop.abort();
      await watching;
      expect(seen.length).toBeLessThanOrEqual(1);
      for await (const _ of store.subscribe(0, AbortSignal.abort())) expect.unreachable();
    });
  });
}

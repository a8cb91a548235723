import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { runSummaries, runSummarySchema } from "../../../../coordinator/delivery/run/run-summaries.ts";
import { emptyStream, type StreamToken } from "../../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../../coordinator/store/sqlite-event-store.ts";
import { CommitSchema, type Event, EventSchema, RunStatus } from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { digestToMessage } from "../../../../shared/digest.ts";
import { from } from "../../../../shared/errors.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { textBlob } from "../../../support/blobs.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { runs as cases } from "../../../support/property-runs.ts";
import { randomStories } from "../../../support/random-stories.ts";
import { startStory } from "../../../support/story.ts";
import { tempDir } from "../../../support/temp-dir.ts";

type Kind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;

const source = digestToMessage(textBlob("source").digest);

/** What can happen to run `n`, in any order that a log may have. */
function kindsOf(what: "request" | "finish" | "pin" | "unpin" | "wait", n: number): Kind {
  switch (what) {
    case "request":
      return { case: "runRequested", value: { pipeline: `p${n}`, source, idempotencyKey: n % 2 === 0 ? "" : `k${n}` } };
    case "finish":
      return { case: "runFinished", value: { status: n % 3 === 0 ? RunStatus.FAILED : RunStatus.SUCCEEDED } };
    case "pin":
      return { case: "runPinned", value: { reason: "because" } };
    case "unpin":
      return { case: "runUnpinned", value: {} };
    case "wait":
      return { case: "taskWaiting", value: { task: "s/t" } };
  }
}

const happenings = fc.array(
  fc.record({
    run: fc.integer({ min: 1, max: 12 }),
    what: fc.constantFrom(
      "request" as const,
      "finish" as const,
      "pin" as const,
      "unpin" as const,
      "wait" as const,
      "expire" as const,
    ),
  }),
  { minLength: 1, maxLength: 60 },
);

async function open() {
  const sqlite = await openSqlite({ path: join(tempDir(), "events.db"), schema: [eventStoreSchema, runSummarySchema] });
  const store = sqliteEventStore({ sqlite });
  const onError = (error: unknown) => expect.unreachable(String(error));
  const summaries = runSummaries({ sqlite, store, clock: fakeClock(), onError });
  await summaries.start?.();
  const close = async () => {
    await summaries.stop?.();
    await sqlite.close();
  };
  onTestFinished(close);
  const tokens = new Map<string, StreamToken>();
  let timeMs = 1_000;
  const commitOf = (kind: Kind) =>
    create(CommitSchema, {
      events: [create(EventSchema, { time: timestampFromMs((timeMs += 1_000)), principal: "p", project: "x", kind })],
    });
  return {
    ...{ sqlite, summaries, close },
    async happen(what: Parameters<typeof kindsOf>[0] | "expire", n: number): Promise<void> {
      const stream = what === "expire" ? "keeping" : `run/run_${n}`;
      const expected = tokens.get(stream) ?? emptyStream;
      if (what === "expire") {
        const commit = commitOf({ case: "runsExpired", value: { runs: [`run_${n}`] } });
        await store.retire({ stream, expected, commit, retired: [`run/run_${n}`] });
        tokens.delete(`run/run_${n}`);
      } else await store.append(stream, expected, commitOf(kindsOf(what, n)));
      tokens.set(stream, (await store.read(stream)).token);
    },
    /** Appends what was decided of run `n`. */
    async record(n: number, events: readonly Event[]): Promise<void> {
      const stream = `run/run_${n}`;
      const commit = create(CommitSchema, { events: [...events] });
      tokens.set(stream, await store.append(stream, tokens.get(stream) ?? emptyStream, commit));
    },
    lines: () => sqlite.query("SELECT * FROM run_summary ORDER BY number"),
    /** When everything is folded that has happened. */
    async folded(): Promise<void> {
      const head = await store.head();
      const position = async () =>
        (await sqlite.query<{ position: number }>("SELECT position FROM run_summary_position"))[0]?.position;
      await expect.poll(position, { interval: 2 }).toBe(head);
    },
  };
}

test("what is folded anew is what was there, whatever has happened, and while more happens", async () => {
  await fc.assert(
    fc.asyncProperty(happenings, fc.nat(), async (all, at) => {
      const { summaries, happen, lines, folded, close } = await open();
      const cut = at % all.length;
      for (const { what, run } of all.slice(0, cut)) await happen(what, run);
      const rebuilding = summaries.rebuild();
      for (const { what, run } of all.slice(cut)) await happen(what, run);
      await rebuilding;
      await happen("request", 99); // one that is always folded
      await folded();
      const before = await lines();
      expect(await summaries.rebuild()).toMatchObject({ runs: before.length, changed: 0 });
      expect(await lines()).toEqual(before);
      await close();
    }),
    { numRuns: cases(25) },
  );
});

test("runs whose tasks are re-run, paused and cancelled have lines that say how they stand, and the same ones anew", async () => {
  const { summaries, record, happen, lines, folded } = await open();
  const expected: object[] = [];
  const stories = fc.sample(randomStories, { numRuns: cases(40), seed: 5 });
  for (const [index, { tasks, commands }] of stories.entries()) {
    const story = startStory(tasks);
    await record(index + 1, story.events);
    for (const [step, command] of commands.entries()) {
      let followed: readonly Event[] = [];
      try {
        followed = story.do(command, 2_000 + step * 3_600_000);
      } catch (error) {
        expect(from(error).code).not.toBe("internal"); // it was refused
      }
      if (followed.length > 0) await record(index + 1, followed);
    }
    const { status, finishTime, pinned, allowedFailures } = story.state;
    const finishedMs = finishTime === undefined ? null : timestampMs(finishTime);
    expected.push({ status, finished_ms: finishedMs, pinned: Number(pinned), allowed_failures: allowedFailures });
  }
  await happen("request", 1 + stories.length); // one that is always folded
  await folded();
  const before = await lines();
  expect(before.slice(0, -1)).toMatchObject(expected);
  expect(await summaries.rebuild()).toMatchObject({ runs: before.length, changed: 0 });
  expect(await lines()).toEqual(before);
});

test("a line that had gone wrong is mended, and counted", async () => {
  const { summaries, happen, lines, sqlite, folded } = await open();
  for (const n of [1, 2, 3]) await happen("request", n);
  await folded();
  const before = await lines();
  await sqlite.write([
    { sql: "UPDATE run_summary SET pipeline = 'wrong' WHERE number = 1" },
    { sql: "DELETE FROM run_summary WHERE number = 2" },
  ]);
  expect(await summaries.rebuild()).toEqual({ commits: 3, runs: 3, changed: 2 });
  expect(await lines()).toEqual(before);
});

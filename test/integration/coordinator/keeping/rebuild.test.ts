import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { approvedCandidates, candidateSchema } from "../../../../coordinator/delivery/run/approved-candidates.ts";
import { approvalsOf } from "../../../../coordinator/delivery/run/candidates.ts";
import { runSummaries, runSummarySchema } from "../../../../coordinator/delivery/run/run-summaries.ts";
import { emptyStream, type StreamToken } from "../../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../../coordinator/store/sqlite-event-store.ts";
import {
  CommitSchema,
  type Event,
  EventSchema,
  GateDecision,
  GitSourceSchema,
  RunStatus,
} from "../../../../proto/gen/millrace/v1/event_pb.ts";
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

const happeningsOfRun = ["request", "finish", "pin", "unpin", "wait", "approve", "approve later", "reject"] as const;
type Happening = (typeof happeningsOfRun)[number];

/** What can happen to run `n`, in any order that a log may have. */
function kindsOf(what: Happening, n: number): Kind {
  switch (what) {
    case "request":
      return { case: "runRequested", value: { ...requestOf(n), source, idempotencyKey: n % 2 === 0 ? "" : `k${n}` } };
    case "finish":
      return { case: "runFinished", value: { status: n % 3 === 0 ? RunStatus.FAILED : RunStatus.SUCCEEDED } };
    case "pin":
      return { case: "runPinned", value: { reason: "because" } };
    case "unpin":
      return { case: "runUnpinned", value: {} };
    case "wait":
      return { case: "taskWaiting", value: { task: "s/t" } };
    case "approve":
      return { case: "gateDecided", value: { task: "look/approval", decision: GateDecision.APPROVED } };
    case "approve later":
      return { case: "gateDecided", value: { task: "ship/approval", decision: GateDecision.APPROVED } };
    case "reject":
      return { case: "gateDecided", value: { task: "look/approval", decision: GateDecision.REJECTED } };
  }
}

/** Several runs want to the same place. */
function requestOf(n: number) {
  return { pipeline: `p${n % 3}`, git: create(GitSourceSchema, { branch: n % 2 === 0 ? "main" : "" }) };
}

const anyRun = fc.integer({ min: 1, max: 12 });
const anything = fc.record({ run: anyRun, what: fc.constantFrom(...happeningsOfRun, "expire" as const) });
/** What hardly ever comes about in a heap of anything. */
const aLife = anyRun.map((run) => (["request", "approve", "expire"] as const).map((what) => ({ run, what })));
const happenings = fc
  .array(fc.oneof({ weight: 5, arbitrary: anything.map((one) => [one]) }, { weight: 1, arbitrary: aLife }), {
    minLength: 1,
    maxLength: 50,
  })
  .map((some) => some.flat());

async function open() {
  const schema = [eventStoreSchema, runSummarySchema, candidateSchema];
  const sqlite = await openSqlite({ path: join(tempDir(), "events.db"), schema });
  const store = sqliteEventStore({ sqlite });
  const onError = (error: unknown) => expect.unreachable(String(error));
  const summaries = runSummaries({ sqlite, store, clock: fakeClock(), onError });
  const candidates = approvedCandidates({ sqlite, store, clock: fakeClock(), onError });
  await summaries.start?.();
  await candidates.start?.();
  const close = async () => {
    await candidates.stop?.();
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
    ...{ sqlite, summaries, candidates, close },
    async happen(what: Happening | "expire", n: number): Promise<void> {
      const stream = what === "expire" ? "keeping" : `run/run_${n}`;
      const expected = tokens.get(stream) ?? emptyStream;
      if (what === "expire") {
        const { commits } = await store.read(`run/run_${n}`);
        const approvals = approvalsOf(
          `run_${n}`,
          commits.flatMap(({ commit: { events } }) => events),
        );
        const commit = commitOf({ case: "runsExpired", value: { runs: [`run_${n}`], approvals } });
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
    approved: () => sqlite.query("SELECT * FROM approved_candidate ORDER BY pipeline, branch, stage"),
    /** When everything is folded that has happened. */
    async folded(): Promise<void> {
      const head = await store.head();
      const position = async () =>
        (await sqlite.query<{ position: number }>("SELECT position FROM run_summary_position"))[0]?.position;
      await expect.poll(position, { interval: 2 }).toBe(head);
      // A decision waits until all of it was seen.
      await candidates.decide({ run: "run_1", project: "x", pipeline: "", branch: "" }, "look", async () => undefined);
    },
  };
}

test("what is folded anew is what was there, whatever has happened, and while more happens", async () => {
  await fc.assert(
    fc.asyncProperty(happenings, fc.nat(), async (all, at) => {
      const { summaries, candidates, happen, lines, approved, folded, close } = await open();
      const cut = at % all.length;
      for (const { what, run } of all.slice(0, cut)) await happen(what, run);
      const rebuilding = Promise.all([summaries.rebuild(), candidates.rebuild()]);
      for (const { what, run } of all.slice(cut)) await happen(what, run);
      await rebuilding;
      await happen("request", 99); // one that is always folded
      await folded();
      const before = await lines();
      expect(await summaries.rebuild()).toMatchObject({ runs: before.length, changed: 0 });
      expect(await lines()).toEqual(before);
      const newest = await approved();
      expect(newest).toMatchObject(newestApproved(all));
      expect(await candidates.rebuild()).toEqual({ candidates: newest.length, changed: 0 });
      expect(await approved()).toEqual(newest);
      await close();
    }),
    { numRuns: cases(25) },
  );
});

/** Of each place the newest run that was ever approved, whether it is still there or not. */
function newestApproved(all: readonly { readonly run: number; readonly what: string }[]): object[] {
  const newest = new Map<string, { pipeline: string; branch: string; stage: string; number: number; run: string }>();
  /** What was appended to a run before it was asked for belongs to no place. */
  const [isAsked, isOther] = [new Set<number>(), new Set<number>()];
  for (const { run, what } of all) {
    if (what === "expire") {
      isAsked.delete(run);
      isOther.delete(run);
    } else if (what === "request" && !isOther.has(run)) isAsked.add(run);
    else if (!isAsked.has(run)) isOther.add(run);
    const stage = { approve: "look", "approve later": "ship" }[what];
    if (stage === undefined || !isAsked.has(run)) continue;
    const { pipeline, git } = requestOf(run);
    const key = `${pipeline} ${git.branch} ${stage}`;
    const known = newest.get(key)?.number ?? 0;
    if (run > known) newest.set(key, { pipeline, branch: git.branch, stage, number: run, run: `run_${run}` });
  }
  return [...newest].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, row]) => row);
}

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
  const { summaries, candidates, happen, lines, approved, sqlite, folded } = await open();
  for (const n of [1, 2, 3]) await happen("request", n);
  await folded();
  const before = await lines();
  await sqlite.write([
    { sql: "UPDATE run_summary SET pipeline = 'wrong' WHERE number = 1" },
    { sql: "DELETE FROM run_summary WHERE number = 2" },
  ]);
  expect(await summaries.rebuild()).toEqual({ commits: 3, runs: 3, changed: 2 });
  expect(await lines()).toEqual(before);

  for (const n of [1, 2, 3]) await happen("approve", n);
  await happen("expire", 1);
  await folded();
  const known = await approved();
  expect(known.length).toBe(3);
  await sqlite.write([
    { sql: "DELETE FROM approved_candidate WHERE number = 1" },
    { sql: "UPDATE approved_candidate SET number = 99 WHERE number = 2" },
  ]);
  expect(await candidates.rebuild()).toEqual({ candidates: 3, changed: 2 });
  expect(await approved()).toEqual(known);
});

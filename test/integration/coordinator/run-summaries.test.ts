import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { expect, onTestFinished, test } from "vitest";
import { runSummaries, runSummarySchema } from "../../../coordinator/delivery/run/run-summaries.ts";
import { type EventStore, emptyStream } from "../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../coordinator/store/sqlite-event-store.ts";
import {
  CommitSchema,
  type Event,
  EventSchema,
  GitSourceSchema,
  RunStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { systemClock } from "../../../shared/clock.ts";
import { digestOf, digestToMessage } from "../../../shared/digest.ts";
import { limits } from "../../../shared/limits.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { tempDir } from "../../support/temp-dir.ts";

const source = digestToMessage(digestOf(Buffer.from("source")));
const about = { project: "default", principal: "token:test" };
const requested = create(EventSchema, {
  ...about,
  kind: { case: "runRequested", value: { pipeline: "p", source } },
});
const waiting = create(EventSchema, {
  ...about,
  kind: { case: "taskWaiting", value: { task: "s/t", wait: { cause: WaitCause.AGENTS_BUSY } } },
});
const finished = create(EventSchema, {
  ...about,
  kind: { case: "runFinished", value: { status: RunStatus.SUCCEEDED } },
});

/** A log, and summaries that are started over it again and again; each start says how many commits it was given. */
async function setup() {
  const path = join(tempDir(), "coordinator.db");
  const sqlite = await openSqlite({ path, schema: [eventStoreSchema, runSummarySchema] });
  onTestFinished(() => sqlite.close());
  const store = sqliteEventStore({ sqlite });
  async function start() {
    let given = 0;
    const counting: EventStore = {
      ...store,
      async *subscribe(after, signal) {
        for await (const commit of store.subscribe(after, signal)) {
          given += 1;
          yield commit;
        }
      },
    };
    const onError = (error: unknown) => expect.unreachable(String(error));
    const summaries = runSummaries({ sqlite, store: counting, clock: systemClock, onError });
    await summaries.start?.();
    onTestFinished(() => summaries.stop?.());
    return { summaries, given: () => given };
  }
  /** Each event a commit of its own. */
  async function append(run: string, events: readonly Event[]) {
    let token = emptyStream;
    for (const event of events)
      token = await store.append(`run/${run}`, token, create(CommitSchema, { events: [event] }));
  }
  return { start, append };
}

test("a start that is behind catches up, however much there is, before it serves", async () => {
  const { start, append } = await setup();
  const count = limits.summaryBatch + 10;
  const numbers = Array.from({ length: count }, (_, index) => index + 1);
  await Promise.all(
    numbers.map((number) => append(`run_${number}`, number % 2 === 0 ? [requested, finished] : [requested])),
  );
  const { summaries } = await start();
  expect(await summaries.lastNumber()).toBe(count);
  expect(await summaries.unfinished()).toHaveLength(count / 2);
});

test("what a run in progress has left is read by one start and not by the next", async () => {
  const { start, append } = await setup();
  await append("run_1", [requested, ...Array.from({ length: 50 }, () => waiting)]);
  const first = await start();
  expect(first.given()).toBe(51);
  await first.summaries.stop?.();
  const second = await start();
  expect(second.given()).toBe(0);
  expect(await second.summaries.unfinished()).toEqual(["run_1"]);
});

test("the last imported commit of each branch is that of its newest run, of the same pipeline and repository", async () => {
  const { start, append } = await setup();
  const url = "https://example.org/shop.git";
  const runOf = (
    branch: string,
    commit: string,
    other: { url?: string; pipelinePath?: string; isSent?: boolean } = {},
  ) => {
    const commits = other.isSent === true ? [] : [{ commit }];
    const git = create(GitSourceSchema, { url: other.url ?? url, branch, commit, commits });
    const value = { pipeline: "p", pipelinePath: other.pipelinePath ?? "millrace.yaml", source, git };
    return create(EventSchema, { ...about, kind: { case: "runRequested", value } });
  };
  await append("run_1", [runOf("main", "a"), finished]);
  await append("run_2", [runOf("topic", "b")]);
  await append("run_3", [runOf("main", "c")]);
  await append("run_4", [runOf("main", "d", { url: "https://example.org/other.git" })]);
  await append("run_5", [runOf("main", "e", { pipelinePath: "other.yaml" })]);
  await append("run_6", [runOf("main", "f", { isSent: true })]); // a client's own tree, which nobody has fetched
  await append("run_7", [runOf("", "0")]); // a tag
  await append("run_8", [requested]);
  const { summaries } = await start();
  const last = async () =>
    (await summaries.lastCommits({ project: "default", pipelinePaths: ["millrace.yaml", "millrace.ts"], url })).map(
      ({ branch, commit }) => [branch, commit],
    );
  const expected = [
    ["main", "c"],
    ["topic", "b"],
  ];
  expect(await last()).toEqual(expected);
  expect(await summaries.rebuild()).toMatchObject({ runs: 8, changed: 0 });
  expect(await last()).toEqual(expected);
});

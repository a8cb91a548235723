import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished, test } from "vitest";
import { approvedCandidates, candidateSchema } from "../../../coordinator/delivery/run/approved-candidates.ts";
import { emptyStream, type StreamToken } from "../../../coordinator/store/event-store.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../coordinator/store/sqlite-event-store.ts";
import { CommitSchema, EventSchema, GateDecision } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { openSqlite } from "../../../shared/sqlite/open.ts";
import { fakeClock } from "../../support/fake-clock.ts";
import { tempDir } from "../../support/temp-dir.ts";

type Kind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;

async function open(dir = tempDir()) {
  const sqlite = await openSqlite({ path: join(dir, "events.db"), schema: [eventStoreSchema, candidateSchema] });
  const store = sqliteEventStore({ sqlite });
  const onError = (error: unknown) => expect.unreachable(String(error));
  const candidates = approvedCandidates({ sqlite, store, clock: fakeClock(), onError });
  await candidates.start?.();
  const close = async () => {
    await candidates.stop?.();
    await sqlite.close();
  };
  const tokens = new Map<string, StreamToken>();
  const happen = async (run: string, kind: Kind, project = "p") => {
    const stream = `run/${run}`;
    const event = create(EventSchema, { time: timestampFromMs(5_000), principal: "user:x", project, kind });
    const commit = create(CommitSchema, { events: [event] });
    tokens.set(stream, await store.append(stream, tokens.get(stream) ?? emptyStream, commit));
  };
  return {
    ...{ candidates, store, close, happen },
    async request(run: string, { pipeline = "shop", branch = "main", project = "p" } = {}) {
      await happen(run, { case: "runRequested", value: { pipeline, git: { branch } } }, project);
      return { run, project, pipeline, branch };
    },
    decided: (run: string, decision: GateDecision = GateDecision.APPROVED, stage = "look") =>
      happen(run, { case: "gateDecided", value: { task: `${stage}/approval`, decision } }),
  };
}

test("an older run of the same pipeline, project and branch is behind a newer one that was approved at the same stage", async () => {
  const dir = tempDir();
  const first = await open(dir);
  const old = await first.request("run_9");
  const others = await Promise.all([
    first.request("run_8", { branch: "other" }),
    first.request("run_7", { pipeline: "other" }),
    first.request("run_6", { project: "other" }),
  ]);
  await first.request("run_10");
  await first.decided("run_10", GateDecision.REJECTED);
  await first.candidates.decide(old, "look", async (newer) => expect(newer).toBeUndefined());
  await first.request("run_14");
  await first.decided("run_14");
  const expected = { run: "run_14", approvedMs: 5_000 };
  await first.candidates.decide(old, "look", async (newer) => expect(newer).toEqual(expected));
  await first.candidates.decide(old, "other", async (newer) => expect(newer).toBeUndefined());
  for (const other of others)
    await first.candidates.decide(other, "look", async (newer) => expect(newer).toBeUndefined());
  const newest = await first.request("run_15");
  await first.candidates.decide(newest, "look", async (newer) => expect(newer).toBeUndefined());
  await first.decided("run_9"); // older than what is known: it takes nothing away

  const event = create(EventSchema, { kind: { case: "runsExpired", value: { runs: ["run_14"] } } });
  const commit = create(CommitSchema, { events: [event] });
  await first.store.retire({ stream: "keeping", expected: emptyStream, commit, retired: ["run/run_14"] });
  await first.close();
  const second = await open(dir);
  onTestFinished(second.close);
  expect(await second.candidates.newerThan(old, "look")).toEqual(expected);
});

test("what runs had been approved for that were removed before removals said so is told to the log once", async () => {
  const dir = tempDir();
  const before = { ...candidateSchema, migrations: candidateSchema.migrations.slice(0, 3) };
  const old = await openSqlite({ path: join(dir, "events.db"), schema: [eventStoreSchema, before] });
  const sql = "INSERT INTO approved_candidate VALUES ('p', 'shop', 'main', 'look', 14, 'run_14', 5000)";
  await old.write([{ sql }]);
  await old.close();
  const now = await open(dir);
  const run = await now.request("run_9");
  const expected = { run: "run_14", approvedMs: 5_000 };
  expect(await now.candidates.rebuild()).toEqual({ candidates: 1, changed: 0 });
  expect(await now.candidates.newerThan(run, "look")).toEqual(expected);
  await now.close();
  const again = await open(dir);
  onTestFinished(again.close);
  expect((await again.store.read("keeping")).commits.length).toBe(1);
  expect(await again.candidates.rebuild()).toEqual({ candidates: 1, changed: 0 });
});

test("of two that are decided at once, the second one knows what the first one has made durable", async () => {
  const { candidates, request, decided, close } = await open();
  onTestFinished(close);
  const [old, young] = [await request("run_1"), await request("run_2")];
  const order: string[] = [];
  const both = [
    candidates.decide(young, "look", async (newer) => {
      order.push(`young ${newer?.run}`);
      await decided("run_2");
    }),
    candidates.decide(old, "look", async (newer) => void order.push(`old ${newer?.run}`)),
  ];
  await Promise.all(both);
  expect(order).toEqual(["young undefined", "old run_2"]);
});

test("a decision that fails lets the next one have its turn", async () => {
  const { candidates, request, close } = await open();
  onTestFinished(close);
  const run = await request("run_1");
  await expect(candidates.decide(run, "look", () => Promise.reject(new Error("no")))).rejects.toThrow("no");
  expect(await candidates.decide(run, "look", async () => "yes")).toBe("yes");
});

import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { expect, onTestFinished, test } from "vitest";
import { emptyRun, type RunState } from "../../../../coordinator/delivery/run/run-state.ts";
import { completenessCheckingActionCache } from "../../../../coordinator/farm/action-cache/completeness-checking-action-cache.ts";
import { actionCacheSchema, sqliteActionCache } from "../../../../coordinator/farm/action-cache/sqlite-action-cache.ts";
import { keeping } from "../../../../coordinator/keeping/keeping.ts";
import { eventStoreSchema, sqliteEventStore } from "../../../../coordinator/store/sqlite-event-store.ts";
import { ActionResultSchema } from "../../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  PlannedTaskSchema,
  RunStatus,
  TaskFinishedSchema,
  TaskStatus,
} from "../../../../proto/gen/millrace/v1/event_pb.ts";
import { RunSchema } from "../../../../proto/gen/millrace/v1/run_pb.ts";
import { boundedCas } from "../../../../shared/cas/bounded-cas.ts";
import type { Blob } from "../../../../shared/cas/cas.ts";
import { diskCasSchema, openDiskCas } from "../../../../shared/cas/disk-cas.ts";
import { digestToMessage } from "../../../../shared/digest.ts";
import { from } from "../../../../shared/errors.ts";
import { limits } from "../../../../shared/limits.ts";
import { openSqlite } from "../../../../shared/sqlite/open.ts";
import { turns } from "../../../../shared/turns.ts";
import { blobOf, noise, textBlob } from "../../../support/blobs.ts";
import { failure } from "../../../support/codes.ts";
import { fakeClock } from "../../../support/fake-clock.ts";
import { runs as cases } from "../../../support/property-runs.ts";
import { tempDir } from "../../../support/temp-dir.ts";

// Longer than the precision of last uses on disk: what was used within it is never the least recently used.
const promiseMs = 2 * limits.lastUsePrecisionMs;
const hour = 60 * 60 * 1000;

interface Options {
  readonly bytesMax?: number;
  readonly cacheAgeMs?: number;
  readonly artifactAgeMs?: number;
}

/** The keeper with a real store, action cache and event log, on runs of the test's own. */
async function farm({ bytesMax = Infinity, cacheAgeMs = Infinity, artifactAgeMs = Infinity }: Options = {}) {
  const dir = tempDir();
  const clock = fakeClock();
  const schema = [eventStoreSchema, diskCasSchema, actionCacheSchema];
  const sqlite = await openSqlite({ path: join(dir, "coordinator.db"), schema });
  const disk = await openDiskCas({ dir: join(dir, "cas"), sqlite, clock, promiseMs });
  const results = sqliteActionCache({ sqlite, clock });
  const active: RunState[] = [];
  const finished: RunState[] = [];
  const line = ({ run, pinned, finishTime }: RunState) =>
    create(RunSchema, { name: run, pinned, status: RunStatus.SUCCEEDED, ...(finishTime ? { finishTime } : {}) });
  const keeper = keeping({
    ...{ data: dir, cas: disk, actionCache: results, store: sqliteEventStore({ sqlite }), clock, pinning: turns() },
    settings: {
      ...{ casBytesMax: bytesMax, cacheAgeMs },
      policyOf: () => ({ runsMax: Infinity, runAgeMs: Infinity, logAgeMs: Infinity, artifactAgeMs }),
    },
    summaries: { list: async () => finished.map(line), rebuild: () => expect.unreachable() },
    runs: {
      active: () => active,
      stateOf: async (run) => finished.find((state) => state.run === run),
      forget: async () => undefined,
    },
    logs: { runs: async () => [], remove: async () => undefined },
    disk: () => ({ folder: dir, freeBytes: 1e12, sizeBytes: 1e12 }),
    onError: (error) => expect.unreachable(from(error).message),
  });
  const cas = boundedCas(disk, {
    ...{ bytesMax, bytes: () => disk.usage().diskBytes, makeRoom: keeper.collector.makeRoom },
    onWritten: () => undefined, // rounds are the test's to begin
  });
  onTestFinished(async () => {
    await keeper.collector.stop?.();
    await disk.close();
    await sqlite.close();
  });
  const actionCache = completenessCheckingActionCache(results, cas);
  const actionOf = (n: number) => textBlob(`action ${n}`).digest;
  return {
    ...{ clock, cas, disk, keeper, active, finished },
    /** Stores the blobs and then the result that owns them. */
    async put(n: number, blobs: readonly Blob[]) {
      await cas.writeMany(blobs);
      const entry = { result: create(ActionResultSchema), closure: blobs.map(({ digest }) => digest), writer: "test" };
      await actionCache.put(actionOf(n), entry);
    },
    get: (n: number) => actionCache.get(actionOf(n)),
    isThere: async (blob: Blob) => (await disk.beginRanking().readMany([blob.digest])).size === 1,
  };
}

/** A run that has made these blobs. */
function runWith(run: string, blobs: readonly Blob[], finishedMs?: number): RunState {
  const state = emptyRun(run);
  const artifacts = blobs.map(({ digest }, index) => ({
    name: String(index),
    content: { case: "file", value: digestToMessage(digest) } as const,
  }));
  state.tasks.set("s/t", {
    ...{ planned: create(PlannedTaskSchema), name: "s/t", status: TaskStatus.SUCCEEDED, unmetNeeds: 0 },
    ...{ wait: undefined, attempts: 1, agent: "a", actionDigest: undefined, executionId: "", skipReason: "" },
    ...{ gate: undefined, outcome: create(TaskFinishedSchema, { artifacts }) },
  });
  if (finishedMs !== undefined) state.finishTime = timestampFromMs(finishedMs);
  return state;
}

const blob = (n: number, sizeBytes = 100_000) => blobOf(noise(sizeBytes, `blob ${n}`));

test("a cached result goes whole by its last use, and blobs that others own stay", async () => {
  const { put, get, isThere, clock, keeper } = await farm({ cacheAgeMs: 10 * hour });
  await put(1, [blob(1), blob(2)]);
  await put(2, [blob(2), blob(3)]);
  clock.advance(8 * hour);
  expect(await get(2)).toBeDefined();
  clock.advance(4 * hour);
  expect(await keeper.collect(true)).toMatchObject({ cachedResults: 1, blobs: 1, blobBytes: 100_000 });
  expect(await isThere(blob(1))).toBe(true);
  expect(await keeper.collect(false)).toMatchObject({ cachedResults: 1, blobs: 1, blobBytes: 100_000 });
  expect(await Promise.all([1, 2, 3].map((n) => isThere(blob(n))))).toEqual([false, true, true]);
  expect(await get(1)).toBeUndefined();
  expect(await get(2)).toBeDefined();
});

test("over its bound the store gives up the least recently used results, then artifacts of the oldest run", async () => {
  const { put, get, isThere, clock, keeper, cas, finished, disk } = await farm({ bytesMax: 1_000_000 });
  const [older, newer] = [blob(10, 200_000), blob(11, 200_000)];
  await cas.writeMany([older, newer]);
  finished.push(runWith("run_2", [newer], clock.nowMs()), runWith("run_1", [older], clock.nowMs() - hour));
  for (const n of [1, 2, 3]) {
    await put(n, [blob(n, 190_000)]);
    clock.advance(hour);
  }
  clock.advance(promiseMs);
  await keeper.collect(false);
  expect([await get(1), await get(2), await get(3)].map((hit) => hit !== undefined)).toEqual([false, true, true]);
  expect(disk.usage().diskBytes).toBeLessThanOrEqual(800_000);
  clock.advance(promiseMs + hour);
  await cas.writeMany([blob(20, 600_000)]);
  expect([await isThere(older), await isThere(newer)]).toEqual([false, true]);
  expect(disk.usage().diskBytes).toBeLessThanOrEqual(1_000_000);
});

test("when nothing may go, who writes is refused, and accepted once what is there has been idle", async () => {
  const { put, clock, cas } = await farm({ bytesMax: 500_000 });
  await put(1, [blob(1, 450_000)]);
  expect((await failure("resource_exhausted", () => cas.writeMany([blob(2)]))).details).toHaveLength(1);
  clock.advance(promiseMs + 1_000);
  await cas.writeMany([blob(2)]);
});

test("a result that has lost a blob is a miss at once, and is removed", async () => {
  const { put, get, disk, keeper } = await farm();
  await put(1, [blob(1), blob(2)]);
  await disk.quarantine(blob(1).digest);
  expect(await get(1)).toBeUndefined();
  expect(await keeper.collect(false)).toMatchObject({ cachedResults: 1, blobs: 0 });
});

const numbers = fc.uniqueArray(fc.nat({ max: 15 }), { minLength: 1, maxLength: 3 });
const life = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("put"), action: fc.nat({ max: 8 }), blobs: numbers } as const),
    fc.record({ kind: fc.constant("get"), action: fc.nat({ max: 8 }) } as const),
    fc.record({ kind: fc.constantFrom("pin", "begin", "finish"), blobs: numbers } as const),
    fc.record({ kind: fc.constant("wait"), hours: fc.constantFrom(0.5, 1, 3) } as const),
    fc.record({ kind: fc.constant("collect") } as const),
  ),
  { minLength: 10, maxLength: 40 },
);

test("a hit never lacks a byte, nothing pinned or active goes, and the bound holds", async () => {
  await fc.assert(
    fc.asyncProperty(life, async (steps) => {
      const { put, get, isThere, clock, keeper, disk, cas, active, finished } = await farm({ bytesMax: 700_000 });
      const sized = (n: number) => blob(n, n % 3 === 0 ? 140_000 : 20_000);
      let number = 0;
      /** Over the bound it is refused, and nothing else may be wrong with it. */
      const tried = async (write: () => Promise<void>): Promise<boolean> => {
        try {
          await write();
          return true;
        } catch (error) {
          expect(from(error).code).toBe("resource_exhausted");
          return false;
        }
      };
      for (const step of steps) {
        if (step.kind === "wait") clock.advance(step.hours * hour);
        else if (step.kind === "collect") await keeper.collect(false);
        else if (step.kind === "put") await tried(() => put(step.action, step.blobs.map(sized)));
        else if (step.kind === "get") {
          const hit = await get(step.action);
          if (hit === undefined) continue;
          clock.advance(promiseMs - 1_000); // as long as a client may take to fetch
          await keeper.collect(false);
          expect(await cas.findMissing(hit.closure)).toEqual([]);
        } else if (step.kind === "finish") {
          const done = active.shift();
          if (done !== undefined) finished.unshift({ ...done, finishTime: timestampFromMs(clock.nowMs()) });
        } else if (await tried(() => cas.writeMany(step.blobs.map(sized)))) {
          number += 1;
          const state = runWith(`run_${number}`, step.blobs.map(sized), clock.nowMs());
          if (step.kind === "begin") active.push(state);
          else finished.unshift({ ...state, pinned: true });
        }
        const needed = [...active, ...finished.filter(({ pinned }) => pinned)];
        for (const { tasks } of needed) {
          for (const { content } of tasks.get("s/t")?.outcome?.artifacts ?? []) {
            const digest = content.value;
            const which = [...Array(16).keys()].map(sized).find((each) => each.digest.hash === digest?.hash);
            expect(which !== undefined && (await isThere(which)), `${digest?.hash}`).toBe(true);
          }
        }
        expect(disk.usage().diskBytes).toBeLessThanOrEqual(700_000);
      }
    }),
    { numRuns: cases(12) },
  );
});

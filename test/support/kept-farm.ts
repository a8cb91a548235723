import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, onTestFinished } from "vitest";
import { emptyRun, type RunState } from "../../coordinator/delivery/run/run-state.ts";
import { newTask } from "../../coordinator/delivery/run/task-state.ts";
import { completenessCheckingActionCache } from "../../coordinator/farm/action-cache/completeness-checking-action-cache.ts";
import { actionCacheSchema, sqliteActionCache } from "../../coordinator/farm/action-cache/sqlite-action-cache.ts";
import { keeping } from "../../coordinator/keeping/keeping.ts";
import { eventStoreSchema, sqliteEventStore } from "../../coordinator/store/sqlite-event-store.ts";
import { ActionResultSchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { PlannedTaskSchema, RunStatus, TaskFinishedSchema, TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import { RunSchema } from "../../proto/gen/millrace/v1/run_pb.ts";
import { boundedCas } from "../../shared/cas/bounded-cas.ts";
import type { Blob } from "../../shared/cas/cas.ts";
import { diskCasSchema, openDiskCas } from "../../shared/cas/disk-cas.ts";
import { digestToMessage } from "../../shared/digest.ts";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { openSqlite } from "../../shared/sqlite/open.ts";
import type { Sqlite } from "../../shared/sqlite/sqlite.ts";
import { turns } from "../../shared/turns.ts";
import { textBlob } from "./blobs.ts";
import { type FakeClock, fakeClock } from "./fake-clock.ts";
import { tempDir } from "./temp-dir.ts";

// Longer than the precision of last uses on disk: what was used within it is never the least recently used.
export const promiseMs = 2 * limits.lastUsePrecisionMs;
export interface KeptFarmOptions {
  readonly bytesMax?: number;
  readonly cacheAgeMs?: number;
  readonly artifactAgeMs?: number;
  /** A folder that an earlier one left. */
  readonly dir?: string;
  readonly clock?: FakeClock;
  /** Around the database, for faults. */
  readonly around?: (sqlite: Sqlite) => Sqlite;
  /** Told of what the keeper coped with; by default there is nothing. */
  readonly onError?: (error: unknown) => void;
}

/** The keeper with a real store, action cache and event log, on runs of the test's own. */
export async function keptFarm(options: KeptFarmOptions = {}) {
  const { bytesMax = Infinity, cacheAgeMs = Infinity, artifactAgeMs = Infinity } = options;
  const { dir = tempDir(), clock = fakeClock(), around = (sqlite: Sqlite) => sqlite } = options;
  const { onError = (error: unknown) => expect.unreachable(from(error).message) } = options;
  const schema = [eventStoreSchema, diskCasSchema, actionCacheSchema];
  const opened = await openSqlite({ path: join(dir, "coordinator.db"), schema });
  const sqlite = around(opened);
  const disk = await openDiskCas({ dir: join(dir, "cas"), sqlite, clock, promiseMs });
  const results = sqliteActionCache({ sqlite, clock });
  const active: RunState[] = [];
  const finished: RunState[] = [];
  const line = ({ run, pinned, finishTime }: RunState) =>
    create(RunSchema, { name: run, pinned, status: RunStatus.SUCCEEDED, ...(finishTime ? { finishTime } : {}) });
  const keeper = keeping({
    ...{
      data: dir,
      tlsDir: join(dir, "tls"),
      secretKeyFile: join(dir, "secret.key"),
      cas: disk,
      actionCache: results,
      store: sqliteEventStore({ sqlite }),
      clock,
      pinning: turns(),
    },
    settings: {
      ...{ casBytesMax: bytesMax, cacheAgeMs },
      policyOf: () => ({ runsMax: Infinity, runAgeMs: Infinity, logAgeMs: Infinity, artifactAgeMs }),
    },
    summaries: { list: async () => finished.map(line), rebuild: () => expect.unreachable() },
    candidates: { rebuild: () => expect.unreachable() },
    runs: {
      active: () => active,
      stateOf: async (run) => finished.find((state) => state.run === run),
      forget: async () => undefined,
    },
    logs: { runs: async () => [], remove: async () => undefined },
    disk: () => ({ folder: dir, freeBytes: 1e12, sizeBytes: 1e12 }),
    onError,
  });
  const cas = boundedCas(disk, {
    ...{ bytesMax, bytes: () => disk.usage().diskBytes, makeRoom: keeper.collector.makeRoom },
    onWritten: () => undefined, // rounds are the test's to begin
  });
  let closing: Promise<void> | undefined;
  const close = () =>
    (closing ??= (async () => {
      await keeper.collector.stop?.();
      await disk.close();
      await opened.close();
    })());
  onTestFinished(close);
  const actionCache = completenessCheckingActionCache(results, cas);
  const actionOf = (n: number) => textBlob(`action ${n}`).digest;
  return {
    ...{ dir, clock, cas, disk, keeper, active, finished, close },
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
export function runWith(run: string, blobs: readonly Blob[], finishedMs?: number): RunState {
  const state = emptyRun(run);
  const artifacts = blobs.map(({ digest }, index) => ({
    name: String(index),
    content: { case: "file", value: digestToMessage(digest) } as const,
  }));
  const planned = create(PlannedTaskSchema, { stage: "s", name: "t" });
  const outcome = create(TaskFinishedSchema, { artifacts });
  state.tasks.set("s/t", { ...newTask(planned), status: TaskStatus.SUCCEEDED, attempts: 1, agent: "a", outcome });
  if (finishedMs !== undefined) state.finishTime = timestampFromMs(finishedMs);
  return state;
}

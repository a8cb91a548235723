import type { CasKeeping } from "../../shared/cas/cas-keeping.ts";
import type { Clock } from "../../shared/clock.ts";
import type { DiskSpace } from "../../shared/disk-space.ts";
import { type Turns, turns } from "../../shared/turns.ts";
import type { RetentionPolicy } from "../delivery/project/retention.ts";
import type { CandidateKeeping } from "../delivery/run/approved-candidates.ts";
import type { RebuiltSummaries, RunSummaries } from "../delivery/run/run-summaries.ts";
import type { KeptRuns } from "../delivery/run/runs.ts";
import type { ActionCacheKeeping } from "../farm/action-cache/action-cache-keeping.ts";
import type { LogKeeping } from "../farm/logs/log-keeping.ts";
import type { EventStore } from "../store/event-store.ts";
import type { StreamKeeping } from "../store/stream-keeping.ts";
import { type BackupProgress, type BackupSummary, writeBackup } from "./backup/write-backup.ts";
import { type Collection, collectGarbage } from "./garbage/collect.ts";
import { type Collector, collector } from "./garbage/collector.ts";
import { expireRuns } from "./garbage/expire-runs.ts";
import { rankBlobs } from "./garbage/rank-blobs.ts";
import { excessBytes } from "./garbage/store-bounds.ts";

/** What folding every projection anew came to. */
export interface Rebuilt extends RebuiltSummaries {
  /** Places of which the newest approved run is known. */
  readonly candidates: number;
}

/**
 * What is done to everything that the coordinator keeps. Calls may overlap and take turns: while a backup is made,
 * nothing is removed.
 */
export interface Keeping {
  /** As `writeBackup`; waits for its turn. */
  backup(
    folder: string,
    options: {
      readonly signal: AbortSignal;
      readonly withSecretKey: boolean;
      onProgress(progress: BackupProgress): void;
    },
  ): Promise<BackupSummary>;
  /** Folds every projection anew from the event log. */
  rebuild(): Promise<Rebuilt>;
  /** One round; a dry one only says what would go. */
  collect(dryRun: boolean): Promise<Collection>;
}

/** How much is kept, and for how long. `Infinity` is without a bound. */
export interface KeepingSettings {
  readonly casBytesMax: number;
  /** Cached results since their last use. */
  readonly cacheAgeMs: number;
  /** Of everything that is a run's: what its project says of its own, else what holds for all. */
  readonly policyOf: (project: string) => RetentionPolicy;
}

export interface KeepingDeps {
  /** The coordinator's folder. */
  readonly data: string;
  /** Of the farm's own CA. */
  readonly tlsDir: string;
  /** With the key of the secrets. */
  readonly secretKeyFile: string;
  readonly settings: KeepingSettings;
  readonly store: Pick<EventStore, "read"> & StreamKeeping;
  readonly summaries: Pick<RunSummaries, "list" | "rebuild">;
  readonly candidates: CandidateKeeping;
  readonly runs: KeptRuns;
  readonly logs: LogKeeping;
  readonly cas: CasKeeping;
  readonly actionCache: ActionCacheKeeping;
  /** In which runs are pinned. */
  readonly pinning: Turns;
  /** Of the store. */
  readonly disk: () => DiskSpace;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
}

export function keeping(deps: KeepingDeps): Keeping & { readonly collector: Collector } {
  const { data, tlsDir, settings, summaries, cas, clock, onError } = deps;
  const taken = turns();
  const excess = (wantedBytes: number): number =>
    excessBytes({ storeBytes: cas.usage().diskBytes + wantedBytes, disk: deps.disk() }, settings.casBytesMax);
  const parts = {
    ...deps,
    expiry: expireRuns({ ...deps, policyOf: settings.policyOf }),
    rank: rankBlobs(deps),
    cacheAgeMs: settings.cacheAgeMs,
    casBytesMax: settings.casBytesMax,
    excessBytes: excess,
  };
  const rounds = collector({
    ...{ clock, onError, turns: taken, excessBytes: () => excess(0) },
    collect: (options) => collectGarbage(parts, options),
  });
  return {
    collector: rounds,
    collect: rounds.collect,
    backup: (folder, { withSecretKey, ...options }) => {
      const secretKey = { file: deps.secretKeyFile, isWanted: withSecretKey };
      return taken.take(() => writeBackup({ data, tlsDir, secretKey, folder, clock, ...options }));
    },
    rebuild: () =>
      taken.take(async () => {
        const [lines, approved] = [await summaries.rebuild(), await deps.candidates.rebuild()];
        return { ...lines, candidates: approved.candidates, changed: lines.changed + approved.changed };
      }),
  };
}

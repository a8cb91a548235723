import type { Clock } from "../../shared/clock.ts";
import { turns } from "../../shared/turns.ts";
import type { RebuiltSummaries, RunSummaries } from "../delivery/run/run-summaries.ts";
import { type BackupProgress, type BackupSummary, writeBackup } from "./backup/write-backup.ts";

/**
 * What is done to everything that the coordinator keeps. Calls may overlap and take turns: while a backup is made,
 * nothing is removed.
 */
export interface Keeping {
  /** As `writeBackup`; waits for its turn. */
  backup(
    folder: string,
    options: { readonly signal: AbortSignal; onProgress(progress: BackupProgress): void },
  ): Promise<BackupSummary>;
  /** Folds every projection anew from the event log. */
  rebuild(): Promise<RebuiltSummaries>;
}

export interface KeepingDeps {
  /** The coordinator's folder. */
  readonly data: string;
  readonly summaries: Pick<RunSummaries, "rebuild">;
  readonly clock: Clock;
}

export function keeping({ data, summaries, clock }: KeepingDeps): Keeping {
  const { take: inTurn } = turns();
  return {
    backup: (folder, options) => inTurn(() => writeBackup({ data, folder, clock, ...options })),
    rebuild: () => inTurn(() => summaries.rebuild()),
  };
}

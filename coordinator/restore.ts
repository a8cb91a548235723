import { systemClock } from "../shared/clock.ts";
import { type RestoreOptions, type RestoreSummary, restoreBackup } from "./keeping/backup/restore-backup.ts";
import { coordinatorSchema } from "./schema.ts";

/** `millrace admin restore`: as `restoreBackup`, for the coordinator of this program. */
export function restoreCoordinator(options: Omit<RestoreOptions, "schema" | "clock">): Promise<RestoreSummary> {
  return restoreBackup({ ...options, schema: coordinatorSchema, clock: systemClock });
}

import { join } from "node:path";
import { MillraceError } from "../../../shared/errors.ts";
import type { LogName } from "./log-store.ts";

/**
 * Where an attempt's output is, without the ending: `<dir>/<id up to its first dot>/<id>.<attempt>`. Ids begin with
 * their run, so a run's logs stand together and no folder grows without bound.
 * @throws MillraceError invalid_argument for an id that is no safe file name.
 */
export function logPath(dir: string, { executionId, attempt }: LogName): string {
  // Neither "." nor "..", nor hidden: the first segment is the name of a folder.
  if (!/^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$/.test(executionId)) {
    throw new MillraceError("invalid_argument", `not an execution id: ${JSON.stringify(executionId)}`);
  }
  if (!Number.isInteger(attempt) || attempt < 1 || attempt > 1_000_000) {
    throw new MillraceError("invalid_argument", `not an attempt of execution ${executionId}: ${attempt}`);
  }
  const [folder = ""] = executionId.split(".", 1);
  return join(dir, folder, `${executionId}.${attempt}`);
}

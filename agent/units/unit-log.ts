import { copyFileSync, statSync, truncateSync } from "node:fs";
import { limits } from "../../shared/limits.ts";

/**
 * Keeps the output of a unit within its bound. The kernel appends to the file, so it can be emptied under the process;
 * lines written between the copy and that are lost.
 */
export function boundUnitLog(path: string): void {
  const sizeBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (sizeBytes <= limits.unitLogBytes) return;
  copyFileSync(path, `${path}.1`);
  truncateSync(path);
}

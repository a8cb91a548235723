import { limits } from "../limits.ts";
import type { BlobTable, TableBlob } from "./blob-table.ts";

/**
 * All blobs of a table that changes meanwhile, in slices between which the event loop has its turn. Those that are there
 * from start to end come at least once. When the table grows, the walk begins anew and `onRestart` is told.
 */
export async function* walkTable(
  table: BlobTable,
  signal: AbortSignal,
  onRestart: () => void,
): AsyncGenerator<readonly TableBlob[]> {
  for (let place = table.start(); ; ) {
    signal.throwIfAborted();
    const step = table.walk(place, limits.tableSlice);
    if (step === "end") return;
    if (step === "moved") {
      onRestart();
      place = table.start();
      continue;
    }
    if (step.blobs.length > 0) yield step.blobs;
    place = step.next;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

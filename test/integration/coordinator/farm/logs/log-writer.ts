// A process that writes numbered lines to ten logs at once and says what was acknowledged: `log-writer.ts <folder>`.
import { writeSync } from "node:fs";
import { openFileLogStore } from "../../../../../coordinator/farm/logs/file-log-store.ts";
import { systemClock } from "../../../../../shared/clock.ts";

const [dir = ""] = process.argv.slice(2);
const store = await openFileLogStore({ dir, clock: systemClock });

async function write(executionId: string): Promise<void> {
  let offset = 0;
  for (let line = 0; ; line += 1) {
    const data = new TextEncoder().encode(`${String(line).padStart(6, "0")}\n`);
    offset = await store.append({ executionId, attempt: 1 }, { offset, data, timeMs: Date.now() });
    writeSync(1, `${executionId} ${offset}\n`); // at once: what a pipe still held in this process would die with it
  }
}

await Promise.all(Array.from({ length: 10 }, (_, n) => write(`run-${n}.build`)));

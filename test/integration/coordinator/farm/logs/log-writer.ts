// A process that writes numbered lines to ten logs at once and says what was acknowledged: `log-writer.ts <folder>`.
import { openFileLogStore } from "../../../../../coordinator/farm/logs/file-log-store.ts";
import { systemClock } from "../../../../../shared/clock.ts";
import { say } from "../../../../support/say.ts";

const [dir = ""] = process.argv.slice(2);
const store = await openFileLogStore({ dir, clock: systemClock });

async function write(executionId: string): Promise<void> {
  let offset = 0;
  for (let line = 0; ; line += 1) {
    const data = new TextEncoder().encode(`${String(line).padStart(6, "0")}\n`);
    offset = await store.append({ executionId, attempt: 1 }, { offset, data, timeMs: Date.now() });
    say(`${executionId} ${offset}`);
  }
}

await Promise.all(Array.from({ length: 10 }, (_, n) => write(`run-${n}.build`)));

import { resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Command } from "commander";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { credentialsIn } from "../credentials.ts";
import { defaultDataFolder } from "../data-folder.ts";
import { onInterrupts } from "../follow/interrupts.ts";
import { processConsole } from "../output/console.ts";
import type { RecordedProcess } from "../up/process-record.ts";
import { farmProcess } from "../up/running-farm.ts";
import { stopTelling } from "../up/stopping.ts";

interface DownOptions {
  readonly data: string;
  readonly json?: boolean;
}

/** Its agents, its coordinator and its NATS stop one after another. */
const mostMs = 3 * limits.childStopMs;

/** `millrace down`. */
export function downCommand(): Command {
  return new Command("down")
    .description(
      "Stop the farm that `millrace up` started on this machine, in the background or in another terminal.\n" +
        "What it knows stays in its data folder, for the next `millrace up`.",
    )
    .option("--data <dir>", "the farm's data folder (env: MILLRACE_DATA)", defaultDataFolder(process.env))
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace down --data /srv/millrace")
    .action(down);
}

async function down(options: DownOptions): Promise<void> {
  const console = processConsole();
  const data = resolve(options.data);
  const farm = farmProcess(data);
  if (farm === undefined) {
    throw new MillraceError(
      "not_found",
      `no farm is up with ${data}. If it has another data folder, name that with --data.`,
    );
  }
  const ask = () => signalFarm(farm);
  const release = onInterrupts([ask]); // as a second Ctrl-C there
  try {
    const stop = async () => {
      ask();
      await gone(data, farm);
    };
    await stopTelling({ farm: credentialsIn(data), console, hurry: "Ctrl-C", stop });
  } finally {
    release();
  }
  if (options.json) return console.writeJson({ data, pid: farm.pid, stopped: true });
  await console.write(`the farm with ${data} is down\n`);
}

/** @throws MillraceError when it is somebody else's */
function signalFarm({ pid, isRunning }: RecordedProcess): void {
  if (!isRunning()) return;
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    throw from(error, `asking process ${pid} to stop`);
  }
}

/** It is no child of ours, so nothing tells us of its end; its record goes a moment before it. */
async function gone(data: string, { pid, isRunning }: RecordedProcess): Promise<void> {
  const untilMs = performance.now() + mostMs;
  while (isRunning()) {
    if (performance.now() > untilMs) {
      const message = `process ${pid} has not stopped in ${mostMs / 1_000} s. What holds it: ${data}/logs; \`kill -9 ${pid}\` ends it.`;
      throw new MillraceError("deadline_exceeded", message);
    }
    await delay(50);
  }
}

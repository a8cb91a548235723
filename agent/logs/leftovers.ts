import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../../shared/clock.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { delay } from "../retry.ts";
import type { AttemptMasking } from "../secrets/attempt-masking.ts";
import type { UnsentSecrets } from "../secrets/unsent-secrets.ts";
import type { LogStreamer } from "./log-streamer.ts";
import { parseSpoolName } from "./spool-name.ts";

/** The output of attempts that earlier starts of the agent ran and did not see the end of. */
export interface Leftovers {
  /**
   * Sends what the coordinator lacks of each, ends it in a gap, and only then deletes it. Resolves when that is done, and
   * after `limits.leftoverLogsFirstMs` at the latest: the rest goes on behind. What was refused, or not reached before the
   * streamer closed, stays for the next start. Never throws.
   */
  send(): Promise<void>;
}

export interface LeftoversOptions {
  /** Spool files of the former start; no process may write there any more. Emptied. */
  readonly spoolFolder: string;
  /** Where they wait, of this alone. */
  readonly folder: string;
  /**
   * Not the one of the tasks that run: what the coordinator refuses of the past must not stop the stream of the present.
   */
  readonly logs: Pick<LogStreamer, "openLeftover">;
  readonly secrets: UnsentSecrets;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
}

/** Sets the spool files of the former start aside, so that those of this one have their folder to themselves. */
export async function setAsideLeftovers(options: LeftoversOptions): Promise<Leftovers> {
  const { spoolFolder, folder, logs, secrets, clock, onError } = options;
  await mkdir(folder, { recursive: true });
  for (const name of await names(spoolFolder)) await rename(join(spoolFolder, name), join(folder, name));
  const waiting = await names(folder);
  // Only a farm that was away for very many starts comes to this; the disk must not fill for its sake.
  for (const name of waiting.splice(limits.leftoverLogs)) {
    onError(new MillraceError("data_loss", `the unsent output ${name} is dropped: ${limits.leftoverLogs} others wait`));
    await rm(join(folder, name), { recursive: true, force: true });
  }
  await secrets.keepOnly(waiting);

  /** What cannot be masked any more must not be sent. */
  async function maskingOf(name: string): Promise<Pick<AttemptMasking, "now"> | "lost"> {
    try {
      return await secrets.maskingOf(name);
    } catch (error) {
      onError(from(error, `the unsent output ${name} is dropped, as its secrets cannot be masked`));
      return "lost";
    }
  }

  async function sendOne(name: string): Promise<void> {
    const key = parseSpoolName(name);
    const masking = await maskingOf(name);
    if (key !== undefined && masking !== "lost") {
      await (await logs.openLeftover(key, join(folder, name), masking)).finish();
    }
    await rm(join(folder, name), { recursive: true, force: true });
    await secrets.forget(name);
  }

  async function sendAll(): Promise<void> {
    for (const name of waiting.splice(0)) {
      try {
        await sendOne(name);
      } catch (error) {
        const failure = from(error, `sending the output that an earlier start left as ${join(folder, name)}`);
        if (failure.code === "canceled") return;
        onError(failure);
      }
    }
  }

  return {
    async send() {
      const sent = new AbortController();
      void sendAll().finally(() => sent.abort());
      await delay(clock, limits.leftoverLogsFirstMs, sent.signal);
    },
  };
}

async function names(folder: string): Promise<string[]> {
  const found = await readdir(folder).catch((error: unknown) => {
    if (from(error).code === "not_found") return [];
    throw from(error, `reading ${folder}`);
  });
  return found.sort((a, b) => (a < b ? -1 : 1));
}

import { constants } from "node:fs";
import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Cas } from "../../shared/cas/cas.ts";
import { readFileRange } from "../../shared/cas/files.ts";
import { type Digest, digestToMessage, hasher } from "../../shared/digest.ts";
import { limits } from "../../shared/limits.ts";
import type { LogStreamer } from "../logs/log-streamer.ts";
import type { Patiently } from "../retry.ts";
import type { Assignment, Executor, LoggedTask } from "./executor.ts";

export interface LoggingOptions {
  readonly logs: Pick<LogStreamer, "open">;
  readonly farm: Pick<Cas, "findMissing" | "write" | "writeMany">;
  /** Holds one spool file for each attempt. */
  readonly folder: string;
  readonly patiently: Patiently;
  /** Aborts when the agent ends: a log outlives the stop of its task, but not that. */
  readonly ending: AbortSignal;
}

/**
 * Gives the task a spool file, has it streamed while the task runs, and keeps the whole of it in the CAS. It returns only
 * when the coordinator has every byte, so a report never comes before its log. `base` must not throw.
 */
export function loggingExecutor(base: Executor<LoggedTask>, options: LoggingOptions): Executor<Assignment> {
  const { logs, farm, folder, patiently, ending } = options;
  let spools = 0;

  async function upload(spool: string, digest: Digest): Promise<void> {
    if (digest.sizeBytes === 0) return;
    const chunks = () => readFileRange(spool, digest.sizeBytes, { start: 0, end: digest.sizeBytes }, ending);
    await patiently(ending, "uploading the log", async () => {
      if ((await farm.findMissing([digest], ending)).length === 0) return;
      if (digest.sizeBytes > limits.smallBlobBytes) return await farm.write(digest, chunks(), ending);
      const data = Buffer.concat(await Array.fromAsync(chunks()));
      await farm.writeMany([{ digest, data }], ending);
    });
  }

  return {
    async execute(task, stop) {
      await mkdir(folder, { recursive: true });
      const spool = join(folder, String(++spools));
      const file = await open(spool, constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY, 0o644);
      await file.close();
      try {
        const log = await logs.open({ executionId: task.executionId, attempt: task.attempt }, spool);
        const done = await base.execute({ ...task, spool }, stop);
        await log.finish();
        const digest = await digestOfFile(spool);
        await upload(spool, digest);
        done.result.stdoutDigest = digestToMessage(digest);
        return done;
      } finally {
        await rm(spool, { force: true });
      }
    },
  };
}

async function digestOfFile(path: string): Promise<Digest> {
  const hash = hasher();
  const { size } = await stat(path);
  for await (const chunk of readFileRange(path, size, { start: 0, end: size })) hash.update(chunk);
  return hash.digest();
}

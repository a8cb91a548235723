import { constants } from "node:fs";
import { mkdir, open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { EndingKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../shared/cas/cas.ts";
import { readFileRange } from "../../shared/cas/files.ts";
import { type Digest, digestToMessage, hasher } from "../../shared/digest.ts";
import { from, type MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import type { LogStreamer, OpenLog } from "../logs/log-streamer.ts";
import { spoolName } from "../logs/spool-name.ts";
import type { Patiently } from "../retry.ts";
import { type Assignment, type Executor, type LoggedTask, Stopped } from "./executor.ts";

/** Opens the log of an attempt; `overfull`, where there is one, ends the task when too much of it waits. */
interface LogOpener {
  open(
    ...args: Parameters<LogStreamer["open"]>
  ): Promise<Pick<OpenLog, "seal" | "finish"> & { readonly overfull?: AbortSignal }>;
}

export interface LoggingOptions {
  readonly logs: LogOpener;
  readonly farm: Pick<Cas, "findMissing" | "write" | "writeMany">;
  /** Holds one spool file for each attempt. */
  readonly folder: string;
  /** Whether spool files outlive the agent, with the work that they tell of; whoever forgets the work removes them. */
  readonly durable?: {
    /** Told when the coordinator refuses the rest of a log. What was done on the host is reported all the same. */
    readonly onRefused: (error: MillraceError) => void;
  };
  readonly patiently: Patiently;
  /** Aborts when the agent ends: a log outlives the stop of its task, but not that. */
  readonly ending: AbortSignal;
}

/**
 * Gives the task a spool file, has it streamed while the task runs, and keeps the whole of it in the CAS. It returns only
 * when the coordinator has every byte, so a report never comes before its log; what `base` throws waits for that, too.
 *
 * A spool file stays behind when the agent ends before the coordinator has it all: its next start sends the rest.
 */
export function loggingExecutor(base: Executor<LoggedTask>, options: LoggingOptions): Executor<Assignment> {
  const { logs, farm, folder, durable, patiently, ending } = options;

  async function keep(spool: string): Promise<Digest> {
    const digest = await digestOfFile(spool);
    if (digest.sizeBytes === 0) return digest;
    const chunks = () => readFileRange(spool, digest.sizeBytes, { start: 0, end: digest.sizeBytes }, ending);
    await patiently(ending, "uploading the log", async () => {
      if ((await farm.findMissing([digest], ending)).length === 0) return;
      if (digest.sizeBytes > limits.smallBlobBytes) return await farm.write(digest, chunks(), ending);
      const data = Buffer.concat(await Array.fromAsync(chunks()));
      await farm.writeMany([{ digest, data }], ending);
    });
    return digest;
  }

  async function finish(log: Pick<OpenLog, "finish">): Promise<void> {
    try {
      await log.finish();
    } catch (error) {
      if (durable === undefined || ending.aborted) throw error;
      durable.onRefused(from(error, "finishing the log of a host operation"));
    }
  }

  return {
    async execute(task, stop) {
      await mkdir(folder, { recursive: true });
      const spool = join(folder, spoolName(task));
      const exclusive = durable === undefined ? constants.O_EXCL : 0;
      const file = await open(spool, constants.O_CREAT | exclusive | constants.O_WRONLY, 0o600);
      await file.close();
      let isSent = false;
      try {
        const key = { executionId: task.executionId, attempt: task.attempt };
        const log = await logs.open(key, spool, task.masking);
        const done = await base
          .execute({ ...task, spool }, eitherOf(stop, log.overfull))
          .catch(async (error: unknown) => {
            // The next start goes on with what this one cuts short. Of all else the file would stay open, its end unsaid.
            const reason: unknown = stop.reason;
            const isCutShort = reason instanceof Stopped && reason.kind === EndingKind.INFRASTRUCTURE;
            if (!isCutShort && !ending.aborted) await log.seal().then(() => finish(log));
            throw error;
          });
        await log.seal();
        const [sent, kept] = await Promise.allSettled([finish(log), keep(spool)]);
        if (sent.status === "rejected") throw sent.reason;
        isSent = true;
        if (kept.status === "rejected") throw kept.reason;
        done.result.stdoutDigest = digestToMessage(kept.value);
        return done;
      } finally {
        if (durable === undefined && (isSent || !ending.aborted)) await rm(spool, { force: true });
      }
    },
  };
}

function eitherOf(stop: AbortSignal, other: AbortSignal | undefined): AbortSignal {
  return other === undefined ? stop : AbortSignal.any([stop, other]);
}

async function digestOfFile(path: string): Promise<Digest> {
  const hash = hasher();
  const { size } = await stat(path);
  for await (const chunk of readFileRange(path, size, { start: 0, end: size })) hash.update(chunk);
  return hash.digest();
}

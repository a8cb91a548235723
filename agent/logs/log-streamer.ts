import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Client } from "@connectrpc/connect";
import type {
  AppendLogRequest,
  AppendLogRequestSchema,
  AppendLogResponse,
  LogService,
} from "../../proto/gen/millrace/v1/log_pb.ts";
import type { Clock } from "../../shared/clock.ts";
import { from, isTransient, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { type Backoff, backoff, delay } from "../retry.ts";
import type { AttemptMasking } from "../secrets/attempt-masking.ts";
import { type AttemptLog, type AttemptLogOptions, attemptLog, type LogBounds, type LogKey } from "./attempt-log.ts";

/** Sends the output of all attempts over one stream, as it comes, and again from what is on disk after a break. */
export interface LogStreamer {
  /** Follows an existing spool file; `masking` hides the secrets of its task. */
  open(key: LogKey, spool: string, masking?: Pick<AttemptMasking, "now">): Promise<OpenLog>;
  /**
   * Sends what the coordinator lacks of a spool file that an earlier start of the agent left. It ends in a gap: nobody
   * knows how the processes ended, which were killed in the midst of what they did.
   */
  openLeftover(key: LogKey, spool: string, masking?: Pick<AttemptMasking, "now">): Promise<OpenLog>;
  /** Ends the stream; logs that are not finished never will be. */
  close(): Promise<void>;
}

/** The log of one attempt on its way. */
export interface OpenLog {
  /** Call when no process writes to the spool any more. From then on, the spool is what the log will be. */
  seal(): Promise<void>;
  /**
   * Seals, if that was not done. Resolves with the log's size when the coordinator has all of it
   * on disk; waits while it cannot be reached. Throws the coordinator's refusal, or `canceled` when the streamer closes.
   */
  finish(): Promise<number>;
  /** How far it has come; call it before `finish`. */
  progress(): Promise<LogProgress>;
}

/** What there is of a log, and what of it the coordinator has on disk. */
export interface LogProgress {
  readonly sizeBytes: number;
  readonly storedBytes: number;
}

export interface LogStreamerOptions {
  readonly client: Pick<Client<typeof LogService>, "appendLog">;
  readonly clock: Clock;
  readonly onError: (error: MillraceError) => void;
  /** Smaller bounds, for tests. */
  readonly bounds?: Partial<LogBounds>;
}

/** A chunk that waits for its answer. Answers come in the order of the chunks. */
interface Sent {
  readonly log: AttemptLog;
  readonly end: number;
  /** The log's when it was sent: a chunk from before a resumption says nothing new. */
  readonly resumption: number;
  readonly bytes: number;
}

type Request = MessageInitShape<typeof AppendLogRequestSchema>;

export function logStreamer({ client, clock, onError, bounds: some }: LogStreamerOptions): LogStreamer {
  const bounds: LogBounds = {
    chunkBytes: limits.logChunkBytes,
    flushMs: limits.logFlushMs,
    inFlightBytes: limits.logInFlightBytes,
    maxBytes: limits.logBytes,
    ...some,
  };
  const closing = new AbortController();
  const logs = new Set<AttemptLog>(); // bounded by the agent's slots
  /** Of each log, the refusals since the coordinator last took something of it. */
  const refusals = new Map<AttemptLog, number>();
  /** Refused lately: the others come first. */
  const resting = new Set<AttemptLog>();
  let wake = (): void => {};
  let running: Promise<void> | undefined;

  /** The next chunk of any log, in turns; undefined when none has anything to say. */
  async function nextChunk(): Promise<{ log: AttemptLog; request: Request; bytes: number } | undefined> {
    for (const log of logs) {
      if (resting.has(log)) continue;
      const chunk = await log.next();
      if (chunk === undefined) continue;
      logs.delete(log);
      logs.add(log); // to the end of the line
      const { executionId, attempt } = log.key;
      return {
        log,
        request: { executionId, attempt, ...chunk, time: timestampFromMs(clock.nowMs()) },
        bytes: chunk.data.byteLength,
      };
    }
    return undefined;
  }

  /** Sends until the signal aborts, at most `inFlightBytes` ahead of the answers. */
  async function* requests(
    sent: Sent[],
    state: { inFlightBytes: number },
    signal: AbortSignal,
  ): AsyncGenerator<Request> {
    const onAbort = () => wake();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        const woken = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const chunk = state.inFlightBytes < bounds.inFlightBytes ? await nextChunk() : undefined;
        if (chunk === undefined) {
          await woken;
          continue;
        }
        const { log, request, bytes } = chunk;
        state.inFlightBytes += bytes;
        sent.push({ log, end: Number(request.offset ?? 0n) + bytes, resumption: log.resumption, bytes });
        yield request;
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** One life of the stream. Returns or throws when it breaks; then the first of `sent` is what it broke at. */
  async function stream(sent: Sent[], pauses: Backoff): Promise<void> {
    const ended = new AbortController();
    const signal = AbortSignal.any([ended.signal, closing.signal]);
    const state = { inFlightBytes: 0 };
    for (const log of logs) log.resume(log.stored);
    try {
      for await (const answer of client.appendLog(requests(sent, state, signal), { signal })) {
        const [head] = sent;
        if (head === undefined || !isAbout(answer, head.log.key)) {
          throw new MillraceError("internal", "the log stream gave an answer to nothing that was sent");
        }
        state.inFlightBytes -= head.bytes;
        acknowledge(head, answer);
        sent.shift();
        pauses.reset();
        refusals.delete(head.log);
        wake();
      }
    } finally {
      ended.abort();
    }
  }

  function acknowledge({ log, end, resumption }: Sent, answer: AppendLogResponse): void {
    const storedBytes = Number(answer.storedBytes);
    if (answer.finished) {
      log.finished();
      logs.delete(log);
    } else if (storedBytes >= end) log.acknowledge(storedBytes);
    else if (resumption === log.resumption) {
      // It lacks what comes before the chunk: go back to where it stands. Twice from one place would go round for ever.
      if (storedBytes === log.resumedFrom) {
        throw new MillraceError(
          "data_loss",
          `the log of ${log.key.executionId} does not grow beyond ${storedBytes} bytes`,
        );
      }
      log.resume(storedBytes);
    }
  }

  async function run(): Promise<void> {
    const pauses = backoff(clock);
    while (!closing.signal.aborted && logs.size > 0) {
      const waitedFor = new Set([...logs].filter((log) => log.sealed));
      const sent: Sent[] = [];
      try {
        await stream(sent, pauses);
      } catch (error) {
        if (closing.signal.aborted) break;
        const failure = from(error, "sending logs");
        onError(failure);
        if (!isTransient(failure) && failure.code !== "canceled") refused(sent[0]?.log, waitedFor, failure);
      }
      await pauses.pause(closing.signal);
    }
    running = undefined;
  }

  /**
   * Answers come in order, so what was refused is the first that has none; when nothing was asked, it is the stream itself
   * and concerns them all. The others must not wait for the one, nor fail with it.
   */
  function refused(one: AttemptLog | undefined, waitedFor: ReadonlySet<AttemptLog>, failure: MillraceError): void {
    for (const log of one === undefined ? waitedFor : [one]) {
      const count = (refusals.get(log) ?? 0) + 1;
      refusals.set(log, count);
      // Only those of tasks that had ended before: while a task runs, there is time for a full disk to be enlarged.
      if (count >= limits.logRefusals && waitedFor.has(log)) {
        log.fail(failure);
        logs.delete(log);
      } else if (one !== undefined) void rest(log, count);
    }
  }

  async function rest(log: AttemptLog, count: number): Promise<void> {
    resting.add(log);
    await delay(clock, Math.min(limits.retryMaxMs, limits.retryMinMs * 2 ** (count - 1)), closing.signal);
    resting.delete(log);
    wake();
  }

  async function follow(file: Pick<AttemptLogOptions, "key" | "spool" | "masking" | "isLeftover">): Promise<OpenLog> {
    closing.signal.throwIfAborted();
    const log = await attemptLog({ ...file, bounds, clock, wake: () => wake() });
    logs.add(log);
    running ??= run();
    wake();
    const end = async () => {
      logs.delete(log);
      refusals.delete(log);
      await log.close();
    };
    return {
      progress: async () => ({ sizeBytes: await log.size(), storedBytes: log.stored }),
      async seal() {
        try {
          await log.seal();
        } catch (error) {
          await end();
          throw error;
        }
      },
      async finish() {
        try {
          return await log.finish();
        } finally {
          await end();
        }
      },
    };
  }

  return {
    open: (key, spool, masking) => follow({ key, spool, masking, isLeftover: false }),
    openLeftover: (key, spool, masking) => follow({ key, spool, masking, isLeftover: true }),
    async close() {
      const error = new MillraceError("canceled", "the agent ends");
      closing.abort(error);
      for (const log of logs) log.fail(error);
      await running;
    },
  };
}

function isAbout(answer: Pick<AppendLogRequest, "executionId" | "attempt">, key: LogKey): boolean {
  return answer.executionId === key.executionId && answer.attempt === key.attempt;
}

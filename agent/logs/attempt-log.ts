import type { Clock } from "../../shared/clock.ts";
import type { MillraceError } from "../../shared/errors.ts";
import type { AttemptMasking } from "../secrets/attempt-masking.ts";
import { maskingSpool } from "../secrets/masking-spool.ts";
import { openSpool } from "./spool.ts";

/** Which attempt a log belongs to. */
export interface LogKey {
  readonly executionId: string;
  readonly attempt: number;
}

/** See the entries of the same meaning in limits.ts. */
export interface LogBounds {
  readonly chunkBytes: number;
  readonly flushMs: number;
  readonly inFlightBytes: number;
  readonly maxBytes: number;
}

/** A piece to be sent. */
export interface LogChunk {
  readonly offset: bigint;
  readonly data: Uint8Array;
  readonly finish: boolean;
  /** With `finish`: after it, output may be missing. */
  readonly gap: boolean;
}

/**
 * The log of one attempt between its spool and the stream:
 *
 *   growing ── seal() ──▶ sealed ── last chunk ──▶ ended ── answer ──▶ finished
 *
 * and in each but the last, `resume` may set it back to what the coordinator has.
 */
export interface AttemptLog {
  readonly key: LogKey;
  /** What the coordinator has on disk for sure. */
  readonly stored: number;
  /** What there is so far. */
  size(): Promise<number>;
  /** Somebody waits for its end. */
  readonly sealed: boolean;
  /** Counts resumptions. */
  readonly resumption: number;
  /** Where the last resumption began, until more than that was stored. */
  readonly resumedFrom: number | undefined;
  /** What to send next, if it is time; undefined when there is nothing now. One call at a time. */
  next(): Promise<LogChunk | undefined>;
  acknowledge(storedBytes: number): void;
  resume(fromBytes: number): void;
  /** The coordinator has it all. */
  finished(): void;
  fail(error: MillraceError): void;
  /** Call when no process writes to the spool any more: cuts what is beyond the bound. Then the spool stays as it is. */
  seal(): Promise<void>;
  /** Seals the spool and resolves with the size when `finished`, or throws what `fail` was given. */
  finish(): Promise<number>;
  close(): Promise<void>;
}

export interface AttemptLogOptions {
  readonly key: LogKey;
  readonly spool: string;
  readonly bounds: LogBounds;
  readonly clock: Clock;
  /** Called when `next` may have something. */
  readonly wake: () => void;
  /** Of an attempt that an earlier start of the agent ran; see LogStreamer.openLeftover. */
  readonly isLeftover?: boolean;
  /** Hides the secrets of its task; undefined when it can have none. */
  readonly masking?: Pick<AttemptMasking, "now"> | undefined;
}

/** Said at the end of a log that was cut. */
function cutMarker(maxBytes: number): string {
  return `\nmillrace: the log was cut here: it reached its bound of ${maxBytes} bytes\n`;
}

export async function attemptLog(options: AttemptLogOptions): Promise<AttemptLog> {
  const { key, spool: path, bounds, clock, wake, isLeftover = false, masking } = options;
  const marker = cutMarker(bounds.maxBytes);
  const maxUnsealed = bounds.maxBytes - Buffer.byteLength(marker);
  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {}); // heard by finish(), which may not have been called yet
  let sentBytes = 0;
  let stored = 0;
  let resumption = 0;
  let resumedFrom: number | undefined;
  let sealed = false;
  let endSent = false;
  let closed = false;
  /** The spool may hold more than was sent. */
  let ready = false;
  let lastReadMs = Number.NEGATIVE_INFINITY;
  let cancelFlush: (() => void) | undefined;

  /** At once when it was quiet, else when the last read is `flushMs` ago: soon for people, in bulk for machines. */
  function onChange(): void {
    if (ready || cancelFlush !== undefined || closed) return;
    const waitMs = lastReadMs + bounds.flushMs - clock.monotonicMs();
    if (waitMs <= 0) return makeReady();
    cancelFlush = clock.after(waitMs, makeReady);
  }

  function makeReady(): void {
    cancelFlush?.();
    cancelFlush = undefined;
    ready = true;
    wake();
  }

  async function seal(): Promise<void> {
    if (sealed) return;
    await spool.seal(bounds.maxBytes, marker);
    sealed = true;
  }

  const clear = await openSpool(path, onChange);
  const spool = masking === undefined ? clear : maskingSpool(clear, masking, path);
  if (isLeftover) {
    // The coordinator most likely has nearly all of it: asked about the end, it says where to go on.
    stored = await spool.size();
    sentBytes = stored;
  }
  makeReady();

  return {
    key,
    get stored() {
      return stored;
    },
    size: () => spool.size(),
    get sealed() {
      return sealed;
    },
    get resumption() {
      return resumption;
    },
    get resumedFrom() {
      return resumedFrom;
    },
    async next() {
      if (!ready || endSent || closed) return undefined;
      lastReadMs = clock.monotonicMs();
      ready = false; // before the read: what is written meanwhile calls again
      const turn = resumption;
      const offset = sentBytes;
      // Until it is sealed, the room for the marker is kept free.
      const room = sealed ? bounds.chunkBytes : Math.max(0, maxUnsealed - offset);
      const data = await spool.read(offset, Math.min(bounds.chunkBytes, room));
      const atEnd = sealed && offset + data.byteLength >= (await spool.size());
      if (turn !== resumption) return undefined; // set back meanwhile, and ready again
      sentBytes = offset + data.byteLength;
      endSent = atEnd;
      if (!atEnd && (sealed || data.byteLength === bounds.chunkBytes)) ready = true; // there is more at once
      if (data.byteLength === 0 && !atEnd) return undefined;
      return { offset: BigInt(offset), data, finish: atEnd, gap: atEnd && isLeftover };
    },
    acknowledge(storedBytes) {
      stored = Math.max(stored, storedBytes);
      if (resumedFrom !== undefined && storedBytes > resumedFrom) resumedFrom = undefined;
    },
    resume(fromBytes) {
      resumption += 1;
      resumedFrom = fromBytes;
      sentBytes = fromBytes;
      endSent = false;
      makeReady();
    },
    finished: done.resolve,
    fail: done.reject,
    seal,
    async finish() {
      await seal();
      makeReady();
      await done.promise;
      return sentBytes;
    },
    async close() {
      closed = true;
      cancelFlush?.();
      await spool.close();
    },
  };
}

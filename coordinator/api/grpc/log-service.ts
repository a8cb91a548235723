import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import type { ServiceImpl } from "@connectrpc/connect";
import { type Event, type TaskFinished, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type {
  AppendLogRequest,
  LogService,
  ReadLogRequest,
  ReadLogResponseSchema,
} from "../../../proto/gen/millrace/v1/log_pb.ts";
import type { Task } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { inOrder } from "../../../shared/in-order.ts";
import { limits } from "../../../shared/limits.ts";
import { merge } from "../../../shared/merge.ts";
import type { Runs } from "../../delivery/run/runs.ts";
import type { LogName, LogStore } from "../../farm/logs/log-store.ts";
import { principalOf } from "../guard.ts";
import { findTask } from "./find-task.ts";

/** The output of one attempt; attempt 0 is the end of a task that left none of its own. */
interface TaskLog {
  readonly try: number;
  readonly attempt: number;
  /** From an offset on. */
  readonly pieces: (offset: number) => AsyncIterable<Piece>;
}

/** One attempt of one try of a task. */
interface Attempt {
  /** `stage/task`. */
  readonly task: string;
  readonly try: number;
  readonly attempt: number;
}

type Piece = MessageInitShape<typeof ReadLogResponseSchema>;

/** Which logs an agent may write. */
export interface LogWriters {
  /** Whether the farm still knows it: a stream outlives the call that was admitted. */
  isEnrolled(agentId: string): boolean;
  /** Whether this attempt was placed on it, now or before it was lost. */
  wasGiven(agentId: string, log: LogName): Promise<boolean>;
}

export interface LogServiceDeps {
  readonly logs: LogStore;
  readonly writers: LogWriters;
  readonly runs: Runs;
  readonly cas: Cas;
}

/** LogService: agents append, people read and follow. */
export function logService({ logs, writers, runs, cas }: LogServiceDeps): ServiceImpl<typeof LogService> {
  return {
    appendLog(requests, context) {
      const admit = admission(writers, principalOf(context).agentId ?? "");
      const store = async (request: AppendLogRequest) => {
        await admit(request);
        return append(logs, request);
      };
      // Chunks do not wait for each other's disk: those of one log that come meanwhile share its next fsync.
      return inOrder(requests, store, { ahead: limits.logAppendsAhead });
    },

    async *readLog(request, { signal }) {
      const reading = new AbortController();
      const both = AbortSignal.any([signal, reading.signal]);
      const reader = logReader({ logs, runs, cas }, request, both);
      try {
        yield* request.task === "" ? reader.wholeRun() : reader.oneTask();
      } finally {
        reading.abort();
      }
    },
  };
}

/**
 * Holds an agent to its own logs. Chunks of one log wait for the same answer, so they are stored in the order in which they
 * came.
 */
function admission(writers: LogWriters, agentId: string): (log: LogName) => Promise<void> {
  const answers = new Map<string, Promise<boolean>>();
  return async ({ executionId, attempt }) => {
    if (!writers.isEnrolled(agentId)) {
      throw new MillraceError("unauthenticated", `the agent "${agentId}" was removed from this farm`);
    }
    const key = `${attempt} ${executionId}`;
    if (answers.size >= limits.admittedLogs) answers.clear();
    const answer = answers.get(key) ?? writers.wasGiven(agentId, { executionId, attempt });
    answers.set(key, answer);
    if (await answer) return;
    throw new MillraceError(
      "permission_denied",
      `attempt ${attempt} of ${executionId} was not given to the agent "${agentId}": it cannot write that log`,
    );
  };
}

async function append(logs: LogStore, request: AppendLogRequest) {
  const { executionId, attempt, offset, data, time, finish, gap } = request;
  if (data.byteLength > limits.logChunkBytes) {
    throw new MillraceError(
      "invalid_argument",
      `a log chunk has at most ${limits.logChunkBytes} bytes, not ${data.byteLength}`,
    );
  }
  const log = { executionId, attempt };
  const chunk = { offset: Number(offset), data, timeMs: time === undefined ? 0 : timestampMs(time) };
  const end = chunk.offset + data.byteLength;
  const stored = await logs.append(log, chunk).catch((error: unknown) => {
    if (from(error).code === "failed_precondition") return undefined;
    throw error;
  });
  // Whole already: its writer hears so. An error would end the stream for all its logs.
  if (stored === undefined) return { executionId, attempt, storedBytes: BigInt(end), finished: true };
  const ended = finish && stored >= end;
  if (ended) await logs.finish(log, gap ? "gap" : "whole");
  return { executionId, attempt, storedBytes: BigInt(stored), finished: ended };
}

/** Reads what one request asks for. */
function logReader({ logs, runs, cas }: Omit<LogServiceDeps, "writers">, request: ReadLogRequest, signal: AbortSignal) {
  const { run } = request;

  /** The output of one attempt from an offset on, and how it ended. */
  async function* attemptLog(
    { task, try: number, attempt, state }: Attempt & { readonly state: AttemptState },
    executionId: string,
    offset: number,
  ): AsyncGenerator<Piece> {
    const log = { executionId, attempt };
    const follow = request.follow && state === "open";
    for await (const chunk of logs.read(log, { offset, follow, signal })) {
      const { data, timeMs } = chunk;
      const time = timestampFromMs(Math.round(timeMs));
      yield { task, try: number, attempt, offset: BigInt(chunk.offset), data, time };
    }
    const end = await logs.endOf(log);
    yield { task, try: number, attempt, finish: true, gap: end === "gap" || (end === undefined && state === "over") };
  }

  /**
   * The output that made a cached result: no process ran here, so it comes from the CAS. It may go before its run does, and
   * then there is a gap, as in place of a log that went: the logs of other tasks are read all the same.
   */
  async function* cachedLog({ task, try: number, logDigest }: TaskFinished, offset: number): AsyncGenerator<Piece> {
    let at = offset;
    const digest = logDigest === undefined ? undefined : digestFromMessage(logDigest);
    let gap = false;
    try {
      if (digest !== undefined && offset < digest.sizeBytes) {
        for await (const data of cas.read(digest, { offset }, signal)) {
          yield { task, try: number, offset: BigInt(at), data };
          at += data.byteLength;
        }
      }
    } catch (error) {
      if (from(error).code !== "not_found") throw error;
      gap = true;
    }
    yield { task, try: number, finish: true, gap };
  }

  /** The run's events: up to now, or until it has finished when the reader follows. */
  async function* events(): AsyncGenerator<Event> {
    const { sequence: present } = await runs.get(run);
    for await (const { sequence, event } of runs.watch(run, 0, signal)) {
      yield event;
      if (!request.follow && BigInt(sequence) >= present) return;
    }
  }

  /** The log of each attempt and of each cached result, as the run's events tell of them. */
  async function* logsOf(wanted: (task: string) => boolean): AsyncGenerator<TaskLog> {
    const { tasks } = await runs.get(run);
    const present = new Map(tasks.map((task) => [`${task.stage}/${task.name}`, task]));
    const executions = new Map<string, string>();
    /** A host operation goes on under the same attempt when its agent comes back: its log goes on, too. */
    const opened = new Set<string>();
    for await (const { kind } of events()) {
      if (kind.case === "taskSubmitted") {
        executions.set(kind.value.task, kind.value.executionId);
      } else if (kind.case === "taskStarted" && wanted(kind.value.task)) {
        const { task, try: number, attempt, executionId } = kind.value;
        const key = `${task} ${number}.${attempt}`;
        if (opened.has(key)) continue;
        opened.add(key);
        const ran = executionId || (executions.get(task) ?? "");
        const state = stateOf(kind.value, present.get(task));
        const named = { task, try: number, attempt, state };
        yield { try: number, attempt, pieces: (offset) => attemptLog(named, ran, offset) };
      } else if (kind.case === "taskFinished" && wanted(kind.value.task)) {
        const finished = kind.value;
        const pieces = (offset: number) => (finished.cached ? cachedLog(finished, offset) : none());
        yield { try: finished.try, attempt: 0, pieces };
      } else if (kind.case === "taskSkipped" && wanted(kind.value.task)) {
        yield { try: present.get(kind.value.task)?.try ?? 0, attempt: 0, pieces: none };
      }
    }
  }

  return {
    /** All tasks at once, their pieces in the order in which they come. */
    async *wholeRun(): AsyncGenerator<Piece> {
      const pieces = async function* () {
        for await (const log of logsOf(() => true)) yield log.pieces(0);
      };
      yield* merge(pieces(), limits.mergedLogs);
    },

    /** The try and the attempt that were asked for, else the last so far; a follower gets those that come after, too. */
    async *oneTask(): AsyncGenerator<Piece> {
      const task = findTask((await runs.get(run)).tasks, request);
      const from = beginningOf(task, request);
      const isAll = request.follow && request.try === 0 && request.attempt === 0;
      let offset = Number(request.offset);
      for await (const log of logsOf((name) => name === `${task.stage}/${task.name}`)) {
        const isEnd = log.attempt === 0;
        if (log.try < from.try || (log.try === from.try && !isEnd && log.attempt < from.attempt)) continue;
        if (request.try !== 0 && log.try > request.try) return;
        yield* log.pieces(offset);
        offset = 0; // of the first one alone
        if ((isEnd && log.try >= task.try) || !isAll) return;
      }
    },
  };
}

/** From where on one task is read. @throws MillraceError not_found for a try that there is not */
function beginningOf(task: Task, request: ReadLogRequest): { readonly try: number; readonly attempt: number } {
  const number = request.try === 0 ? task.try : request.try;
  if (number > task.try || number < 1) {
    const there = task.try === 1 ? "one try" : `${task.try} tries`;
    throw new MillraceError(
      "not_found",
      `${task.stage}/${task.name} of ${request.run} has had ${there}, not ${number}`,
    );
  }
  const past = task.tries.find((one) => one.try === number);
  const last = number === task.try ? task.attempts : (past?.attempts ?? 1);
  return { try: number, attempt: request.attempt === 0 ? last : request.attempt };
}

async function* none(): AsyncGenerator<Piece> {}

/**
 * Whether an attempt may still write when the reader comes. One that is `over` does not: nobody waits for the end of a log
 * that a crash left without one, and such a log may lack something. One that was `left` goes on for other runs.
 */
type AttemptState = "open" | "over" | "left";

function stateOf({ try: number, attempt }: Omit<Attempt, "task">, task: Task | undefined): AttemptState {
  if (task === undefined || number > task.try) return "open";
  if (number < task.try) return "over";
  if (attempt > task.attempts) return "open";
  if (attempt < task.attempts) return "over";
  if (task.status === TaskStatus.CANCELLED) return "left";
  const isOpen = [TaskStatus.WAITING, TaskStatus.QUEUED, TaskStatus.RUNNING].some((status) => status === task.status);
  return isOpen ? "open" : "over";
}

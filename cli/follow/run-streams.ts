import { RunStatus, TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { ReadLogResponse } from "../../proto/gen/millrace/v1/log_pb.ts";
import type { WatchRunResponse } from "../../proto/gen/millrace/v1/run_pb.ts";
import type { MillraceError } from "../../shared/errors.ts";
import type { Connection } from "../connection.ts";
import { resumed } from "./resumed.ts";

export interface FollowOptions {
  readonly run: string;
  readonly signal: AbortSignal;
  onInterruption?(error: MillraceError): void;
}

/**
 * The events of a run, each once and without holes, until it has finished; over restarts of the coordinator. A run that was
 * re-run has finished more than once: the coordinator ends the stream at its last end so far.
 */
export async function* watchRun(
  connection: Pick<Connection, "runs">,
  options: FollowOptions,
): AsyncGenerator<WatchRunResponse> {
  let sequence = 0n;
  let finished = false;
  const events = resumed<WatchRunResponse>({
    ...options,
    doing: `watching ${options.run}`,
    complete: () => finished,
    open: (signal) => connection.runs.watchRun({ run: options.run, afterSequence: sequence }, { signal }),
  });
  for await (const response of events) {
    if (response.sequence <= sequence) continue;
    sequence = response.sequence;
    finished = response.event?.kind.case === "runFinished";
    yield response;
  }
}

export interface ReadRunLogOptions extends FollowOptions {
  /** `stage/task` or `task`; undefined is all. */
  readonly task?: string;
  /** Of the task; undefined is the last one. */
  readonly try?: number;
  readonly follow: boolean;
}

/**
 * The output of a run's tasks, each byte once, over restarts of the coordinator: what was seen before the stream broke
 * is read again and skipped by offset. Without `follow` it ends at the present end.
 */
export async function* readRunLog(
  connection: Pick<Connection, "runs" | "logs">,
  options: ReadRunLogOptions,
): AsyncGenerator<ReadLogResponse> {
  const seen = seenOutput();
  yield* resumed<ReadLogResponse>({
    ...options,
    doing: `reading the log of ${options.run}`,
    complete: async () => !options.follow || (await hasFinished(connection, options)),
    async *open(signal) {
      const request = { run: options.run, task: options.task ?? "", try: options.try ?? 0, follow: options.follow };
      for await (const response of connection.logs.readLog(request, { signal })) {
        const news = seen(response);
        if (news !== undefined) yield news;
      }
    },
  });
}

/** Keeps, of each response, the part that was not given before; undefined when there is none. */
export function seenOutput(): (response: ReadLogResponse) => ReadLogResponse | undefined {
  const sizes = new Map<string, bigint>();
  const finished = new Set<string>();
  return (response) => {
    const key = `${response.task}#${response.try}.${response.attempt}`;
    if (response.finish) {
      if (finished.has(key)) return undefined;
      finished.add(key);
      return response;
    }
    const size = sizes.get(key) ?? 0n;
    const end = response.offset + BigInt(response.data.byteLength);
    if (end <= size) return undefined;
    sizes.set(key, end);
    if (response.offset >= size) return response;
    const known = Number(size - response.offset);
    return { ...response, offset: size, data: response.data.subarray(known) };
  };
}

/** Whether the run, or the task that was asked for, writes no more. */
async function hasFinished(connection: Pick<Connection, "runs">, options: ReadRunLogOptions): Promise<boolean> {
  const { run } = await connection.runs.getRun({ run: options.run }, { signal: options.signal });
  if (run?.status !== RunStatus.RUNNING) return true;
  const { task: wanted } = options;
  const task = run.tasks.find(({ stage, name }) => wanted === `${stage}/${name}` || wanted === name);
  return task !== undefined && task.status > TaskStatus.RUNNING;
}

import type { Event } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { runOfStream } from "../../delivery/run/run-actor.ts";
import type { LogName } from "../../farm/logs/log-store.ts";
import type { EventStore, StoredCommit } from "../../store/event-store.ts";

/**
 * The logs of all attempts that the events know of, each once. A log that they do not know belongs to the time after
 * them: in a farm that goes on from these events, its name is given to another attempt.
 */
export async function* startedLogs(store: EventStore, signal: AbortSignal): AsyncGenerator<LogName> {
  const seen = new Set<string>();
  /** By `<stream> <task>`, until the task has ended. */
  const submitted = new Map<string, string>();
  for await (const { stream, event } of eventsUpToNow(store, signal)) {
    const { kind } = event;
    if (kind.case === "taskSubmitted") submitted.set(`${stream} ${kind.value.task}`, kind.value.executionId);
    if (kind.case === "taskFinished") submitted.delete(`${stream} ${kind.value.task}`);
    if (kind.case !== "taskStarted") continue;
    const { task, attempt } = kind.value;
    const executionId = kind.value.executionId || submitted.get(`${stream} ${task}`);
    const key = `${executionId} ${attempt}`;
    if (executionId === undefined || seen.has(key)) continue;
    seen.add(key);
    yield { executionId, attempt };
  }
}

/** Of runs: no others start anything. */
async function* eventsUpToNow(
  store: EventStore,
  signal: AbortSignal,
): AsyncGenerator<{ readonly stream: string; readonly event: Event }> {
  for await (const stored of commitsUpToNow(store, signal)) {
    const { stream } = stored;
    // What others cannot decode any more is no reason to restore nothing.
    if (runOfStream(stream) !== undefined) for (const event of stored.commit.events) yield { stream, event };
  }
}

/** Every commit that is in the log at the time of the call, in order. */
async function* commitsUpToNow(store: EventStore, signal: AbortSignal): AsyncGenerator<StoredCommit> {
  const head = await store.head();
  if (head === 0) return;
  for await (const stored of store.subscribe(0, signal)) {
    yield stored;
    if (stored.position >= head) return;
  }
  signal.throwIfAborted();
}

import { createClient } from "@connectrpc/connect";
import { readRunLog, watchRun } from "../../cli/follow/run-streams.ts";
import { ActionCache } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { type Event, TaskStatus, WaitCause } from "../../proto/gen/millrace/v1/event_pb.ts";
import { LogService } from "../../proto/gen/millrace/v1/log_pb.ts";
import { RunService } from "../../proto/gen/millrace/v1/run_pb.ts";
import { grpcTransport } from "../../shared/rpc/grpc-transport.ts";
import { parseToken } from "../../shared/rpc/token.ts";
import type { Trust } from "../../shared/tls/trust.ts";

/** The services that a campaign asks, over restarts of the coordinator. */
export type Services = ReturnType<typeof connect>;

/** What a campaign must know of a farm. */
export interface FarmAddress {
  readonly grpc: string;
  readonly token: string;
  /** Undefined: plain. */
  readonly trust?: Trust;
}

export function connect({ grpc, token, trust }: FarmAddress) {
  const transport = grpcTransport({ address: grpc, token: parseToken(token).secret, trust });
  return {
    runs: createClient(RunService, transport),
    logs: createClient(LogService, transport),
    agents: createClient(AgentService, transport),
    cache: createClient(ActionCache, transport),
    close: () => transport.close(),
  };
}

/** The log of an attempt, as a reader got it. */
export interface AttemptLog {
  readonly text: string;
  /** How often its end was told. */
  readonly ends: number;
  readonly gap: boolean;
}

export interface Follow {
  readonly run: string;
  readonly signal: AbortSignal;
  /** Gets each event in short, as it comes. */
  readonly names: string[];
}

/** Follows a run to its end: its events, and the logs of all attempts. */
export function followRun(services: Services, { run, signal, names }: Follow) {
  const events: Event[] = [];
  const watching = (async () => {
    for await (const { event } of watchRun(services, { run, signal })) {
      if (event === undefined) continue;
      events.push(event);
      names.push(nameOf(event));
    }
    return events;
  })();
  const log = readLogs(services, { run, follow: true, signal });
  for (const promise of [watching, log]) promise.catch(() => {}); // awaited by who follows
  return { events: watching, log };
}

/** Reads the logs of a run, or of one task, to their end; by `stage/task#attempt`. */
export async function readLogs(
  services: Services,
  options: { run: string; task?: string; follow: boolean; signal: AbortSignal },
): Promise<Map<string, AttemptLog>> {
  const logs = new Map<string, AttemptLog>();
  for await (const { task, attempt, data, finish, gap } of readRunLog(services, options)) {
    const key = `${task}#${attempt}`;
    const { text, ends, gap: had } = logs.get(key) ?? { text: "", ends: 0, gap: false };
    logs.set(key, { text: text + Buffer.from(data).toString(), ends: ends + (finish ? 1 : 0), gap: had || gap });
  }
  return logs;
}

/** `taskStarted numbers #2`, `taskWaiting other busy`, `taskFinished numbers`. */
function nameOf({ kind }: Event): string {
  switch (kind.case) {
    case "taskWaiting": {
      const cause = kind.value.wait?.cause;
      return `taskWaiting ${shortOf(kind.value.task)} ${cause === WaitCause.AGENTS_BUSY ? "busy" : `cause ${cause}`}`;
    }
    case "taskStarted":
      return `taskStarted ${shortOf(kind.value.task)} #${kind.value.attempt}`;
    case "taskFinished": {
      const { status, task } = kind.value;
      return `taskFinished ${shortOf(task)}${status === TaskStatus.SUCCEEDED ? "" : ` with status ${status}`}`;
    }
    default:
      return kind.case ?? "nothing";
  }
}

function shortOf(task: string): string {
  return task.slice(task.indexOf("/") + 1);
}

import type { Report } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { Bus } from "../../../shared/bus/bus.ts";
import type { Clock } from "../../../shared/clock.ts";
import type { LeaseTimes } from "../../../shared/lease-times.ts";
import type { AgentRegistry } from "../agents/agent-registry.ts";
import type { PoolOutlook } from "./agent-places.ts";
import type { Dispatcher } from "./dispatcher.ts";
import type { ExecutionTable } from "./execution-table.ts";
import type { ExecutionRequest } from "./scheduler.ts";

/** What the scheduler of a farm stands on. */
export interface FarmSchedulerDeps {
  readonly bus: Bus;
  readonly agents: AgentRegistry;
  readonly pools?: PoolOutlook;
  readonly dispatcher: Dispatcher;
  readonly table: ExecutionTable;
  readonly clock: Clock;
  /** Of this start of the coordinator. */
  readonly term: number;
  /** Default that of limits.ts. */
  readonly lease?: LeaseTimes;
  /** Keeps what a finished execution is worth, before anybody is told: the action cache. */
  readonly keep: (request: ExecutionRequest, report: Report) => Promise<void>;
  /** An attempt writes no more. Its log, unless its agent has ended it, ends in a gap. */
  readonly attemptEnded: (executionId: string, attempt: number) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

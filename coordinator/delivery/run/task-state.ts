import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type Ending,
  type PlannedTask,
  type TaskFinished,
  TaskStatus,
  type Wait,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";
import type { GateState } from "./gate-state.ts";
import { taskName } from "./generated-tasks.ts";

/** A try of a task that another one followed. */
export interface PastTry {
  readonly number: number;
  readonly status: TaskStatus;
  readonly ending: Ending | undefined;
  readonly agent: string;
  readonly attempts: number;
  /** Empty when it had none: its result came from the cache, or it could not be prepared. */
  readonly executionId: string;
}

/**
 * A task of a run:
 *
 *     waiting → queued → running → succeeded | failed | cancelled
 *       ↑ |       | ↑________|   (its agent was lost)
 *       | |       +→ waiting (held back: its run was paused)
 *       | +→ succeeded (cached) | failed (could not be prepared) | cancelled | skipped
 *       +── failed by itself, and its policy gives it another try; or any end, and somebody asks for it again
 *
 * The task of a manual stage is never queued: when its needs have ended well its gate opens, and a decision ends it.
 */
export interface TaskState {
  /** Its needs grow when one of them writes tasks. */
  planned: PlannedTask;
  /** The task that wrote it, as `stage/task`; empty for one of the pipeline file. */
  readonly generatedBy: string;
  /** `stage/task`. */
  readonly name: string;
  status: TaskStatus;
  /** Needs that have not ended yet; at 0 it is decided whether it begins. */
  unmetNeeds: number;
  wait: Wait | undefined;
  /** Of the present try. */
  attempts: number;
  agent: string;
  actionDigest: Digest | undefined;
  executionId: string;
  outcome: TaskFinished | undefined;
  skipReason: string;
  /** It was skipped in such a way that what needs it goes on. */
  passed: boolean;
  /** Undefined before the gate of a manual stage has opened, and for every other task. */
  gate: GateState | undefined;
  /** Grows each time that it is begun anew: what belongs to an earlier round comes too late. Numbers its executions. */
  round: number;
  /** As people count: the present one, from 1. */
  try: number;
  /** The last `limits.taskTriesKept`, oldest first. */
  readonly tries: PastTry[];
  /** How often its policy gave it another try, since somebody last asked for it. */
  retries: number;
  /** Of a try that is not due yet. */
  notBefore: Timestamp | undefined;
  /** Agents that must not get it. */
  avoidAgents: readonly string[];
  /** The cache is not asked. */
  bypassCache: boolean;
}

export function newTask(planned: PlannedTask, generatedBy = ""): TaskState {
  return {
    planned,
    generatedBy,
    name: taskName(planned),
    status: TaskStatus.WAITING,
    unmetNeeds: planned.needs.length,
    wait: undefined,
    attempts: 0,
    agent: "",
    actionDigest: undefined,
    executionId: "",
    outcome: undefined,
    skipReason: "",
    passed: false,
    gate: undefined,
    round: 1,
    try: 1,
    tries: [],
    retries: 0,
    notBefore: undefined,
    avoidAgents: [],
    bypassCache: false,
  };
}

export function isOpen({ status }: Pick<TaskState, "status">): boolean {
  return status === TaskStatus.WAITING || status === TaskStatus.QUEUED || status === TaskStatus.RUNNING;
}

/** Whether an end like this lets those go on that need the task, as far as they use none of its artifacts. */
export function isPassed({ status, planned, passed }: TaskState): boolean {
  if (status === TaskStatus.SKIPPED) return passed;
  return status === TaskStatus.SUCCEEDED || (status === TaskStatus.FAILED && planned.allowFailure);
}

/** The present try is over and another one comes. A task that nothing was tried of goes on with the same number. */
export function leaveTry(task: TaskState, status: TaskStatus, ending: Ending | undefined): void {
  const isUntried = task.outcome === undefined || status === TaskStatus.CANCELLED;
  if (task.executionId === "" && isUntried) return;
  const { try: number, agent, attempts, executionId } = task;
  task.tries.push({ number, status, ending, agent, attempts, executionId });
  if (task.tries.length > limits.taskTriesKept) task.tries.shift();
  task.try += 1;
}

/** As it was before it began; what its needs have come to is not touched. */
export function beginAnew(task: TaskState): void {
  task.status = TaskStatus.WAITING;
  task.wait = undefined;
  task.attempts = 0;
  task.agent = "";
  task.actionDigest = undefined;
  task.executionId = "";
  task.outcome = undefined;
  task.skipReason = "";
  task.passed = false;
  task.gate = undefined;
  task.notBefore = undefined;
  task.round += 1;
}

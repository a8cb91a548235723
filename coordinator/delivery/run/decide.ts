import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Digest } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  EndingKind,
  type Event,
  EventSchema,
  type PlannedTask,
  RunStatus,
  type TaskFinishedSchema,
  TaskStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { type NewerCandidate, openingOf, timeoutOf } from "./gate.ts";
import { type GateCommand, wordAtGate } from "./gate-words.ts";
import { evolve, isOpen, type RunState, type TaskState } from "./run-state.ts";

type EventKind = NonNullable<MessageInitShape<typeof EventSchema>["kind"]>;
export type TaskOutcome = Omit<MessageInitShape<typeof TaskFinishedSchema>, "task" | "$typeName">;

/** Something that wants to change a run. */
export type RunCommand =
  | {
      readonly kind: "request";
      readonly pipeline: string;
      readonly pipelinePath: string;
      readonly source: Digest;
      readonly idempotencyKey: string;
      readonly tasks: readonly PlannedTask[];
    }
  /** Its Action is complete and the cache has no result. */
  | { readonly kind: "submit"; readonly task: string; readonly actionDigest: Digest; readonly executionId: string }
  | { readonly kind: "wait"; readonly task: string; readonly cause: WaitCause; readonly detail: string }
  | {
      readonly kind: "start";
      readonly task: string;
      readonly attempt: number;
      readonly agent: string;
      /** Whose process and log it is. */
      readonly executionId: string;
    }
  | { readonly kind: "finish"; readonly task: string; readonly outcome: TaskOutcome }
  | { readonly kind: "cancel"; readonly reason: string }
  | { readonly kind: "pin"; readonly reason: string }
  | { readonly kind: "unpin" }
  | GateCommand
  /** The time of an open gate may be up. */
  | { readonly kind: "gate-timeout"; readonly task: string; readonly newer: NewerCandidate | undefined };

/** Whom an event is due to, and when. */
export interface Origin {
  readonly principal: string;
  readonly project: string;
  readonly traceparent: string;
  readonly nowMs: number;
}

/**
 * The events that follow from a command, already folded into `state`. Pure but for that: no clock, no I/O. A command
 * that comes too late (its task has ended, its run is over) gives no events.
 */
export function decide(state: RunState, command: RunCommand, origin: Origin): Event[] {
  const events: Event[] = [];
  const record = (kind: EventKind): void => {
    const { principal, project, traceparent, nowMs } = origin;
    const event = create(EventSchema, { time: timestampFromMs(nowMs), principal, project, traceparent, kind });
    evolve(state, event);
    events.push(event);
  };
  const over = state.status !== RunStatus.RUNNING;
  if (command.kind === "request") {
    request(state, command, record, origin.nowMs);
  } else if (isWordAtGate(command)) {
    const { task, kinds } = wordAtGate(state, command, origin.nowMs);
    for (const kind of kinds) record(kind);
    if (kinds.length > 0 && !isOpen(task)) follow(state, task, record, origin.nowMs);
  } else if (command.kind === "pin") {
    record({ case: "runPinned", value: { reason: command.reason } });
  } else if (command.kind === "unpin") {
    if (state.pinned) record({ case: "runUnpinned", value: {} });
  } else if (over) {
    return events;
  } else if (command.kind === "cancel") {
    cancel(state, command.reason, record);
  } else {
    const task = state.tasks.get(command.task);
    if (task === undefined) throw new MillraceError("not_found", `${state.run} has no task ${command.task}`);
    if (!isOpen(task)) return events;
    changeTask(state, task, command, record, origin.nowMs);
  }
  if (state.open === 0 && state.status === RunStatus.RUNNING) {
    record({ case: "runFinished", value: { status: finalStatus(state) } });
  }
  return events;
}

type Record = (kind: EventKind) => void;
type TaskCommand = Exclude<RunCommand, GateCommand | { kind: "request" | "cancel" | "pin" | "unpin" }>;

function isWordAtGate(command: RunCommand): command is GateCommand {
  return command.kind === "decide-gate" || command.kind === "withdraw-vote" || command.kind === "add-evidence";
}

function request(
  state: RunState,
  command: Extract<RunCommand, { kind: "request" }>,
  record: Record,
  nowMs: number,
): void {
  if (state.sequence > 0) throw new MillraceError("already_exists", `${state.run} exists already`);
  const { pipeline, pipelinePath, source, idempotencyKey, tasks } = command;
  record({ case: "runRequested", value: { pipeline, pipelinePath, source, idempotencyKey } });
  record({ case: "runPlanned", value: { tasks: [...tasks] } });
  for (const task of state.tasks.values()) {
    if (task.unmetNeeds === 0) begin(state, task, record, nowMs);
    else wait(task, WaitCause.NEEDS, `needs ${task.planned.needs.join(", ")}`, record, nowMs);
  }
}

function changeTask(state: RunState, task: TaskState, command: TaskCommand, record: Record, nowMs: number): void {
  switch (command.kind) {
    case "wait":
      if (task.wait?.cause !== command.cause) wait(task, command.cause, command.detail, record, nowMs);
      return;
    case "submit": {
      // A repeated submit, after a restart, is no news.
      if (task.status !== TaskStatus.WAITING) return;
      const { task: name, actionDigest, executionId } = command;
      record({ case: "taskSubmitted", value: { task: name, actionDigest, executionId } });
      return;
    }
    case "start":
      if (command.attempt <= task.attempts && task.status === TaskStatus.RUNNING) return;
      record({
        case: "taskStarted",
        value: { task: task.name, attempt: command.attempt, agent: command.agent, executionId: command.executionId },
      });
      return;
    case "finish":
      record({ case: "taskFinished", value: { ...command.outcome, task: task.name } });
      follow(state, task, record, nowMs);
      return;
    case "gate-timeout": {
      const concluding = timeoutOf(state, task, { nowMs, newer: command.newer });
      for (const kind of concluding) record(kind);
      if (concluding.length > 0) follow(state, task, record, nowMs);
      return;
    }
    default:
      command satisfies never;
  }
}

/** All that it needs has succeeded: a person is asked, or its Action is put together. */
function begin(state: RunState, task: TaskState, record: Record, nowMs: number): void {
  const { gate } = task.planned;
  if (gate === undefined) wait(task, WaitCause.PREPARING, "", record, nowMs);
  else for (const kind of openingOf(state, task, gate, nowMs)) record(kind);
}

/** What the end of a task means for those that need it. */
function follow(state: RunState, first: TaskState, record: Record, nowMs: number): void {
  const ended = [first];
  for (let need = ended.shift(); need !== undefined; need = ended.shift()) {
    for (const name of state.dependants.get(need.name) ?? []) {
      const task = state.tasks.get(name);
      if (task === undefined || !isOpen(task)) continue;
      if (need.status !== TaskStatus.SUCCEEDED) {
        record({ case: "taskSkipped", value: { task: name, reason: `needs ${need.name}, which ${ending(need)}` } });
        ended.push(task);
      } else if (task.unmetNeeds === 0) {
        begin(state, task, record, nowMs);
      }
    }
  }
}

/** Tasks that the farm has not been given end here; the others end when their agents have stopped them. */
function cancel(state: RunState, reason: string, record: Record): void {
  if (state.cancelReason !== undefined) return;
  record({ case: "runCancelRequested", value: { reason } });
  for (const task of state.tasks.values()) {
    if (task.status !== TaskStatus.WAITING) continue;
    const ending = { kind: EndingKind.CANCELLED, detail: reason };
    record({ case: "taskFinished", value: { task: task.name, status: TaskStatus.CANCELLED, ending } });
  }
}

function wait(task: TaskState, cause: WaitCause, detail: string, record: Record, nowMs: number): void {
  record({ case: "taskWaiting", value: { task: task.name, wait: { cause, detail, since: timestampFromMs(nowMs) } } });
}

function finalStatus(state: RunState): RunStatus {
  let status: RunStatus = RunStatus.SUCCEEDED;
  for (const task of state.tasks.values()) {
    if (task.status === TaskStatus.FAILED) return RunStatus.FAILED;
    if (task.status === TaskStatus.CANCELLED) status = RunStatus.CANCELLED;
  }
  return status;
}

function ending({ status }: TaskState): string {
  if (status === TaskStatus.SKIPPED) return "was skipped";
  return status === TaskStatus.CANCELLED ? "was cancelled" : "failed";
}

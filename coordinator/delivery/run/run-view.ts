import { create } from "@bufbuild/protobuf";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type Gate,
  type GateEvidence,
  GateEvidenceSchema,
  GateSchema,
  type GateVote,
  GateVoteSchema,
  type Run,
  RunCommentSchema,
  RunPauseSchema,
  RunSchema,
  type Task,
  TaskSchema,
  type TaskTry,
  TaskTrySchema,
} from "../../../proto/gen/millrace/v1/run_pb.ts";
import { allowedFailures } from "./decide-run.ts";
import { bindingOf } from "./gate-binding.ts";
import type { GateState } from "./gate-state.ts";
import { countingVotes, missingOf } from "./gate-words.ts";
import type { PauseState, RunState } from "./run-state.ts";
import type { PastTry, TaskState } from "./task-state.ts";

/** The run as the API shows it. */
export function runView(state: RunState): Run {
  const tasks = [...state.tasks.values()];
  const line = runLine(state);
  line.tasks = tasks.map((task) => taskView(state, task));
  line.comments = state.comments.map(({ task, text, by, time }) =>
    create(RunCommentSchema, { task, text, principal: by, ...(time === undefined ? {} : { time }) }),
  );
  line.allowedFailures = allowedFailures(state);
  const git = state.request?.git;
  if (git !== undefined) line.git = git;
  line.params = state.request?.params ?? {};
  return line;
}

/** The same without its tasks, for lists. */
export function runLine(state: RunState): Run {
  return create(RunSchema, {
    name: state.run,
    pipeline: state.pipeline,
    project: state.project,
    principal: state.principal,
    status: state.status,
    ...(state.source === undefined ? {} : { source: state.source }),
    ...(state.createTime === undefined ? {} : { createTime: state.createTime }),
    ...(state.finishTime === undefined ? {} : { finishTime: state.finishTime }),
    sequence: BigInt(state.sequence),
    pinned: state.pinned,
    allowedFailures: state.allowedFailures,
    ...(state.pause === undefined ? {} : { pause: pauseView(state.pause) }),
  });
}

function pauseView({ reason, by, time }: PauseState) {
  return create(RunPauseSchema, { reason, principal: by, ...(time === undefined ? {} : { time }) });
}

function taskView(state: RunState, task: TaskState): Task {
  const { outcome } = task;
  const gate = gateView(state, task);
  return create(TaskSchema, {
    stage: task.planned.stage,
    name: task.planned.name,
    status: task.status,
    cached: outcome?.cached ?? false,
    attempts: task.attempts,
    agent: task.agent,
    needs: task.planned.needs,
    artifacts: outcome?.artifacts ?? [],
    warnings: outcome?.warnings ?? [],
    executionId: task.executionId,
    skipReason: task.skipReason,
    try: task.try,
    tries: task.tries.map(tryView),
    allowFailure: task.planned.allowFailure,
    always: task.planned.always,
    ...(outcome?.duration === undefined ? {} : { duration: outcome.duration }),
    ...(outcome?.usage === undefined ? {} : { usage: outcome.usage }),
    ...(outcome?.confinement === undefined ? {} : { confinement: outcome.confinement }),
    ...(outcome?.ending === undefined ? {} : { ending: outcome.ending }),
    ...(task.wait === undefined ? {} : { wait: task.wait }),
    ...(task.actionDigest === undefined ? {} : { actionDigest: task.actionDigest }),
    ...(gate === undefined ? {} : { gate }),
  });
}

function tryView({ number, ending, status, agent, attempts, executionId }: PastTry): TaskTry {
  const ended = ending === undefined ? {} : { ending };
  return create(TaskTrySchema, { try: number, status, agent, attempts, executionId, ...ended });
}

function votesOf(state: RunState, task: TaskState, gate: GateState): GateVote[] {
  const counting = countingVotes(state, task, gate);
  return [...gate.votes].flatMap(([principal, { time, vote }]) => {
    if (!counting.has(principal)) return [];
    const { comment, fields, checked } = vote;
    return [create(GateVoteSchema, { principal, comment, fields, checked, ...at(time) })];
  });
}

function evidenceOf({ evidence }: GateState): GateEvidence[] {
  return [...evidence].map(([name, { added, principal, time }]) => {
    const digest = added.digest === undefined ? {} : { digest: added.digest };
    return create(GateEvidenceSchema, { name, principal, ...digest, ...at(time) });
  });
}

function at(time: Timestamp | undefined): { time?: Timestamp } {
  return time === undefined ? {} : { time };
}

/** The gate of a stage; undefined when there is none. */
export function gateOfStage(state: RunState, stage: string): Gate | undefined {
  for (const task of state.tasks.values()) {
    if (task.planned.stage === stage && task.planned.gate !== undefined) return gateView(state, task);
  }
  return undefined;
}

/** What it binds is shown as it is now: that is what a decision made now would be about. */
function gateView(state: RunState, task: TaskState): Gate | undefined {
  const { gate: planned } = task.planned;
  if (planned === undefined) return undefined;
  if (task.gate === undefined) return create(GateSchema, { planned });
  const { deadline, decided, decidedBy, decideTime } = task.gate;
  const { bound, digest } = bindingOf(state, task);
  const told = {
    votes: votesOf(state, task, task.gate),
    evidence: evidenceOf(task.gate),
    missing: missingOf(state, task),
  };
  const open = { planned, deadline, bound, binding: digest, decidedBy, ...told };
  if (decided === undefined) return create(GateSchema, open);
  return create(GateSchema, { ...open, decided, ...(decideTime === undefined ? {} : { decideTime }) });
}

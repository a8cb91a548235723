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
  RunSchema,
  type Task,
  TaskSchema,
} from "../../../proto/gen/millrace/v1/run_pb.ts";
import { bindingOf } from "./gate-binding.ts";
import type { GateState } from "./gate-state.ts";
import { countingVotes, missingOf } from "./gate-words.ts";
import type { RunState, TaskState } from "./run-state.ts";

/** The run as the API shows it. */
export function runView(state: RunState): Run {
  return { ...runLine(state), tasks: [...state.tasks.values()].map((task) => taskView(state, task)) };
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
  });
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
    executionId: task.executionId,
    skipReason: task.skipReason,
    ...(outcome?.duration === undefined ? {} : { duration: outcome.duration }),
    ...(outcome?.usage === undefined ? {} : { usage: outcome.usage }),
    ...(outcome?.confinement === undefined ? {} : { confinement: outcome.confinement }),
    ...(outcome?.ending === undefined ? {} : { ending: outcome.ending }),
    ...(task.wait === undefined ? {} : { wait: task.wait }),
    ...(task.actionDigest === undefined ? {} : { actionDigest: task.actionDigest }),
    ...(gate === undefined ? {} : { gate }),
  });
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

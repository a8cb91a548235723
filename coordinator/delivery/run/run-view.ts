import { create } from "@bufbuild/protobuf";
import { type Run, RunSchema, type Task, TaskSchema } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { RunState, TaskState } from "./run-state.ts";

/** The run as the API shows it. */
export function runView(state: RunState): Run {
  return { ...runLine(state), tasks: [...state.tasks.values()].map(taskView) };
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
  });
}

function taskView(task: TaskState): Task {
  const { outcome } = task;
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
    ...(outcome?.ending === undefined ? {} : { ending: outcome.ending }),
    ...(task.wait === undefined ? {} : { wait: task.wait }),
    ...(task.actionDigest === undefined ? {} : { actionDigest: task.actionDigest }),
  });
}

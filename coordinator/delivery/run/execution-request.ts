import { create } from "@bufbuild/protobuf";
import {
  type HostOperation,
  HostOperationSchema,
  type NamedCaches,
  NamedCachesSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { PlannedTask, ProjectQuotas } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { ExecutionRequest } from "../../farm/scheduler/scheduler.ts";
import { clampPriority } from "../concurrency/project-quotas.ts";
import type { PreparedAction } from "./prepare-task.ts";
import type { RunState, TaskState } from "./run-state.ts";
import { runNumber } from "./runs.ts";

/** What the scheduler is asked to execute for a task. Pure: asked again after a crash, it is the same execution. */
export function executionRequest(
  state: RunState,
  task: TaskState,
  prepared: PreparedAction,
  quotas: ProjectQuotas,
): ExecutionRequest {
  const { planned, executionId: id } = task;
  return {
    id,
    actionDigest: prepared.digest,
    action: prepared.action,
    command: prepared.command,
    priority: clampPriority(planned.priority, quotas),
    fairGroup: state.run,
    volatileEnvironment: volatileEnvironment(state, task),
    ...namedCachesOf(planned, state.project),
    ...hostOperationOf(planned),
    ...(planned.atMostOnce ? { atMostOnce: true } : {}),
  };
}

/** Chosen by us, so that submitting again after a crash is the same execution. `task` is `stage/task`. */
export function executionIdOf({ run }: Pick<RunState, "run">, task: string): string {
  return `${run}.${task.replace("/", ".")}`;
}

/** Whether a run has submitted it. */
export function isOfRun(executionId: string): boolean {
  return runNumber(executionId.slice(0, Math.max(0, executionId.indexOf(".")))) !== undefined;
}

/** What a task is told but its key does not depend on. TRACEPARENT is what OpenTelemetry's tools look for. */
function volatileEnvironment(state: RunState, { planned }: TaskState): Record<string, string> {
  return {
    CI: "true",
    MILLRACE_RUN: state.run,
    MILLRACE_STAGE: planned.stage,
    MILLRACE_TASK: planned.name,
    TRACEPARENT: state.traceparent,
  };
}

function namedCachesOf({ caches }: PlannedTask, project: string): { namedCaches?: NamedCaches } {
  return caches.length === 0 ? {} : { namedCaches: create(NamedCachesSchema, { project, caches }) };
}

function hostOperationOf({ deployment }: PlannedTask): { hostOperation?: HostOperation } {
  if (deployment === undefined) return {};
  return { hostOperation: create(HostOperationSchema, { kind: { case: "deploy", value: deployment } }) };
}

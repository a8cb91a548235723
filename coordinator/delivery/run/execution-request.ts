import { create } from "@bufbuild/protobuf";
import {
  type HostOperation,
  HostOperationSchema,
  type NamedCaches,
  NamedCachesSchema,
  type TaskSecrets,
  TaskSecretsSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { PlannedTask, ProjectQuotas } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { ExecutionRequest } from "../../farm/scheduler/scheduler.ts";
import { clampPriority } from "../concurrency/project-quotas.ts";
import type { PreparedAction } from "./prepare-task.ts";
import type { RunState } from "./run-state.ts";
import { runNumber } from "./runs.ts";
import type { TaskState } from "./task-state.ts";

/** What the scheduler is asked to execute for a task. Pure: asked again after a crash, it is the same execution. */
export function executionRequest(
  state: RunState,
  task: TaskState,
  prepared: PreparedAction,
  quotas: ProjectQuotas,
): ExecutionRequest {
  const { planned, executionId: id } = task;
  const infrastructure = planned.retry?.infrastructure;
  return {
    id,
    actionDigest: prepared.digest,
    action: prepared.action,
    command: prepared.command,
    priority: clampPriority(planned.priority, quotas),
    fairGroup: state.run,
    volatileEnvironment: volatileEnvironment(state, task),
    ...namedCachesOf(planned, state.project),
    ...secretsOf(planned, state.project),
    ...hostOperationOf(planned),
    ...(planned.atMostOnce ? { atMostOnce: true } : {}),
    // An environment is tied to its agent, whoever would rather have another one.
    ...(task.avoidAgents.length === 0 || planned.deployment !== undefined ? {} : { avoidAgents: task.avoidAgents }),
    ...(infrastructure === undefined ? {} : { attemptsMax: infrastructure + 1 }),
  };
}

/**
 * Chosen by us, so that submitting again after a crash is the same execution: `run_1.stage.task`, and in later rounds
 * `run_1.stage.task.2`. Names have no dots, so no two are the same.
 */
export function executionIdOf(
  { run }: Pick<RunState, "run">,
  { name, round }: Pick<TaskState, "name" | "round">,
): string {
  const id = `${run}.${name.replace("/", ".")}`;
  return round === 1 ? id : `${id}.${round}`;
}

/** Whether a run has submitted it. */
export function isOfRun(executionId: string): boolean {
  return runNumber(executionId.slice(0, Math.max(0, executionId.indexOf(".")))) !== undefined;
}

/** What a task is told but its key does not depend on. TRACEPARENT is what OpenTelemetry's tools look for. */
function volatileEnvironment(state: RunState, { planned, try: number }: TaskState): Record<string, string> {
  const git = state.request?.git;
  return {
    CI: "true",
    MILLRACE_RUN: state.run,
    MILLRACE_STAGE: planned.stage,
    MILLRACE_TASK: planned.name,
    MILLRACE_TRY: String(number),
    ...(git === undefined ? {} : { MILLRACE_COMMIT: git.commit, MILLRACE_BRANCH: git.branch }),
    TRACEPARENT: state.traceparent,
  };
}

function namedCachesOf({ caches }: PlannedTask, project: string): { namedCaches?: NamedCaches } {
  return caches.length === 0 ? {} : { namedCaches: create(NamedCachesSchema, { project, caches }) };
}

function secretsOf({ secrets }: PlannedTask, project: string): { secrets?: TaskSecrets } {
  return secrets.length === 0 ? {} : { secrets: create(TaskSecretsSchema, { project, secrets }) };
}

function hostOperationOf({ deployment }: PlannedTask): { hostOperation?: HostOperation } {
  if (deployment === undefined) return {};
  return { hostOperation: create(HostOperationSchema, { kind: { case: "deploy", value: deployment } }) };
}

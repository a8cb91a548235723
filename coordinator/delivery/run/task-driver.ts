import { create } from "@bufbuild/protobuf";
import {
  type HostOperation,
  HostOperationSchema,
  type NamedCaches,
  NamedCachesSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import {
  EndingKind,
  type Event,
  type PlannedTask,
  TaskStatus,
  WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import type { Clock } from "../../../shared/clock.ts";
import { digestFromMessage, digestToMessage } from "../../../shared/digest.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { patiently, retry } from "../../../shared/retry.ts";
import type { ActionCache } from "../../farm/action-cache/action-cache.ts";
import type { ExecutionOutcome, ExecutionUpdate, Scheduler } from "../../farm/scheduler/scheduler.ts";
import type { Environments } from "../environment/environments.ts";
import type { ProjectView } from "../project/projects.ts";
import type { Origin, RunCommand } from "./decide.ts";
import { outcomeOfExecution } from "./outcome.ts";
import { type PreparedAction, prepareTask, readPrepared } from "./prepare-task.ts";
import type { RunActor } from "./run-actor.ts";
import { isOpen, type TaskState } from "./run-state.ts";
import { runNumber } from "./runs.ts";

export interface TaskDriverDeps {
  readonly cas: Cas;
  readonly actionCache: ActionCache;
  readonly scheduler: Scheduler;
  readonly environments: Environments;
  readonly projects: Pick<ProjectView, "cacheZoneOf">;
  readonly clock: Clock;
  /** Whom the events are due to that follow from what the farm tells. */
  readonly origin: (actor: RunActor) => Origin;
  readonly onError: (error: unknown) => void;
}

/**
 * Turns events of runs into work for the farm, and what the farm tells into commands for runs. It keeps nothing that
 * the log does not have: `resume` puts a new start of the coordinator where the last one was.
 */
export class TaskDriver {
  readonly #deps: TaskDriverDeps;
  /** Executions that the farm was given, by id. */
  readonly #executions = new Map<string, { readonly actor: RunActor; readonly task: string }>();
  /** Actions between their preparation and their submission. */
  readonly #prepared = new Map<string, PreparedAction>();
  readonly #waitingToPrepare: (() => Promise<void>)[] = [];
  readonly #stopped = new AbortController();
  #preparing = 0;
  #unsubscribe = (): void => {};

  constructor(deps: TaskDriverDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#unsubscribe = this.#deps.scheduler.subscribe((update) => this.#onUpdate(update));
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopped.abort();
  }

  /** Does again what may not have been done; every step can be repeated. */
  resume(actor: RunActor): void {
    for (const task of actor.state.tasks.values()) {
      if (!isOpen(task)) continue;
      if (task.status !== TaskStatus.WAITING) this.#background(this.#submit(actor, task));
      else if (task.unmetNeeds === 0 && task.planned.gate === undefined) this.#prepare(actor, task);
    }
  }

  /**
   * Forgets what a crash between the end of a task and the farm's forgetting has left: once all runs that go on are
   * resumed, nobody asks for what else has ended.
   */
  forgetLeftovers(): void {
    for (const id of [...this.#deps.scheduler.stats().concluded]) {
      if (isOfRun(id) && !this.#executions.has(id)) this.#background(this.#deps.scheduler.forget(id));
    }
  }

  react(actor: RunActor, { kind }: Event): void {
    switch (kind.case) {
      case "taskWaiting": {
        const task = actor.state.tasks.get(kind.value.task);
        if (task !== undefined && kind.value.wait?.cause === WaitCause.PREPARING) this.#prepare(actor, task);
        return;
      }
      case "taskSubmitted": {
        const task = actor.state.tasks.get(kind.value.task);
        if (task !== undefined) this.#background(this.#submit(actor, task));
        return;
      }
      case "taskFinished": {
        const executionId = actor.state.tasks.get(kind.value.task)?.executionId ?? "";
        this.#prepared.delete(executionIdOf(actor, kind.value.task));
        if (this.#executions.delete(executionId)) this.#background(this.#deps.scheduler.forget(executionId));
        return;
      }
      case "runCancelRequested":
        for (const { executionId } of actor.state.tasks.values()) {
          if (this.#executions.has(executionId)) this.#deps.scheduler.cancel(executionId, kind.value.reason);
        }
        return;
      default:
    }
  }

  /** In turn, a bounded number at a time: each reads trees and writes blobs. */
  #prepare(actor: RunActor, task: TaskState): void {
    this.#waitingToPrepare.push(async () => {
      await this.#do(actor, await this.#nextStep(actor, task));
    });
    this.#prepareNext();
  }

  #prepareNext(): void {
    if (this.#preparing >= limits.preparingTasks) return;
    const work = this.#waitingToPrepare.shift();
    if (work === undefined) return;
    this.#preparing += 1;
    const done = work().finally(() => {
      this.#preparing -= 1;
      this.#prepareNext();
    });
    this.#background(done);
  }

  async #nextStep(actor: RunActor, task: TaskState): Promise<RunCommand> {
    const onNoAgent = (detail: string) =>
      this.#background(this.#do(actor, { kind: "wait", task: task.name, cause: WaitCause.NO_AGENT_MATCHES, detail }));
    const deps = { ...this.#deps, onNoAgent };
    const next = await prepareTask(deps, actor.state, task, this.#stopped.signal).catch((error: unknown) =>
      from(error, `preparing ${task.name} of ${actor.state.run}`),
    );
    if (next instanceof MillraceError) return unrunnable(task.name, next);
    if (next.kind === "cached") return next.command;
    const executionId = executionIdOf(actor, task.name);
    this.#prepared.set(executionId, next.prepared);
    return { kind: "submit", task: task.name, actionDigest: digestToMessage(next.prepared.digest), executionId };
  }

  async #submit(actor: RunActor, task: TaskState): Promise<void> {
    const { executionId, planned, actionDigest } = task;
    const { run } = actor.state;
    this.#executions.set(executionId, { actor, task: task.name });
    try {
      const known = this.#prepared.get(executionId);
      this.#prepared.delete(executionId);
      const { signal } = this.#stopped;
      const prepared = known ?? (await readPrepared(this.#deps.cas, digestFromMessage(actionDigest), signal));
      const submitted = this.#deps.scheduler.submit({
        id: executionId,
        actionDigest: prepared.digest,
        action: prepared.action,
        command: prepared.command,
        priority: planned.priority,
        fairGroup: run,
        volatileEnvironment: volatileEnvironment(actor, task),
        ...namedCachesOf(planned, actor.state.project),
        ...hostOperationOf(planned),
        ...(planned.atMostOnce ? { atMostOnce: true } : {}),
      });
      const { cancelReason } = actor.state;
      if (cancelReason !== undefined) this.#deps.scheduler.cancel(executionId, cancelReason);
      await submitted;
    } catch (error) {
      await this.#do(actor, unrunnable(task.name, from(error, `submitting ${task.name} of ${run}`)));
    }
  }

  #onUpdate(update: ExecutionUpdate): void {
    const known = this.#executions.get(update.id);
    if (known === undefined) return;
    const { actor, task } = known;
    switch (update.kind) {
      case "waiting":
        this.#background(this.#do(actor, { kind: "wait", task, cause: update.cause, detail: update.detail }));
        return;
      case "started": {
        const { attempt, agent, execution: executionId } = update;
        this.#background(this.#do(actor, { kind: "start", task, attempt, agent, executionId }));
        return;
      }
      case "finished":
        this.#background(this.#finish(actor, task, update.outcome));
        return;
      default:
        update satisfies never;
    }
  }

  async #finish(actor: RunActor, name: string, execution: ExecutionOutcome): Promise<void> {
    const task = actor.state.tasks.get(name);
    if (task === undefined) return;
    await this.#deployed(actor, task, execution);
    await this.#do(actor, await this.#conclusion(actor, task, execution));
  }

  async #conclusion(actor: RunActor, task: TaskState, execution: ExecutionOutcome): Promise<RunCommand> {
    const { name, planned, actionDigest } = task;
    try {
      const outcome = await outcomeOfExecution(this.#deps.cas, planned, execution, this.#stopped.signal);
      return {
        kind: "finish",
        task: name,
        outcome: { ...outcome, ...(actionDigest === undefined ? {} : { actionDigest }) },
      };
    } catch (error) {
      return unrunnable(name, from(error, `reading the result of ${name} of ${actor.state.run}`));
    }
  }

  /** The environment first, the task second: what a crash leaves out between them is done again. */
  async #deployed({ state }: RunActor, task: TaskState, { deployment }: ExecutionOutcome): Promise<void> {
    if (deployment === undefined) return;
    const { run, project } = state;
    const { name, executionId } = task;
    const ended = { run, project, task: name, executionId, outcome: deployment };
    const { clock, onError, environments } = this.#deps;
    const isRetryable = (error: unknown): boolean => {
      onError(error);
      return true;
    };
    const { signal } = this.#stopped;
    await retry(() => environments.record(ended), { ...patiently, clock, signal, isRetryable });
  }

  /** What the farm told must reach the log: whatever the disk has against it now, it is tried again. */
  async #do(actor: RunActor, command: RunCommand): Promise<void> {
    const { signal } = this.#stopped;
    if (signal.aborted) return;
    const { clock, onError } = this.#deps;
    const isRetryable = (error: unknown): boolean => {
      if (from(error).code === "not_found") return false; // no such task: a defect, and no disk mends it
      onError(error);
      return true;
    };
    await retry(() => actor.do(command, this.#deps.origin(actor)), { ...patiently, clock, signal, isRetryable });
  }

  #background(work: Promise<unknown>): void {
    work.catch(this.#deps.onError);
  }
}

/** Chosen by us, so that submitting again after a crash is the same execution. `task` is `stage/task`. */
function executionIdOf({ state }: RunActor, task: string): string {
  return `${state.run}.${task.replace("/", ".")}`;
}

/** Whether a run has submitted it. */
function isOfRun(executionId: string): boolean {
  return runNumber(executionId.slice(0, Math.max(0, executionId.indexOf(".")))) !== undefined;
}

/** What a task is told but its key does not depend on. TRACEPARENT is what OpenTelemetry's tools look for. */
function volatileEnvironment({ state }: RunActor, { planned }: TaskState): Record<string, string> {
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

/** The farm's failure, or the task's own when what it asks for is wrong: artifacts that get in each other's way. */
function unrunnable(task: string, { code, message }: MillraceError): RunCommand {
  const kind = code === "invalid_argument" ? EndingKind.REFUSED : EndingKind.INFRASTRUCTURE;
  return { kind: "finish", task, outcome: { status: TaskStatus.FAILED, ending: { kind, detail: message } } };
}

import {
  EndingKind,
  type Event,
  type ProjectQuotas,
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
import { type Admissions, type AdmissionWait, admissions } from "../concurrency/admissions.ts";
import type { Environments } from "../environment/environments.ts";
import { type BoundedWork, boundedWork } from "./bounded-work.ts";
import { executionIdOf, executionRequest, isOfRun } from "./execution-request.ts";
import { outcomeOfExecution } from "./outcome.ts";
import { type PreparedAction, prepareTask, readPrepared } from "./prepare-task.ts";
import type { RunActor } from "./run-actor.ts";
import type { Origin, RunCommand } from "./run-command.ts";
import { isOpen, type TaskState } from "./run-state.ts";

export interface TaskDriverDeps {
  readonly cas: Cas;
  readonly actionCache: ActionCache;
  readonly scheduler: Scheduler;
  readonly environments: Environments;
  readonly quotasOf: (project: string) => ProjectQuotas;
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
  readonly #preparing: BoundedWork;
  readonly #admissions: Admissions<RunActor>;
  /** Executions that are to end because a newer run takes their place, with what is said of it. */
  readonly #superseded = new Map<string, string>();
  readonly #stopped = new AbortController();
  #unsubscribe = (): void => {};

  constructor(deps: TaskDriverDeps) {
    this.#deps = deps;
    this.#preparing = boundedWork(limits.preparingTasks, deps.onError);
    this.#admissions = admissions({
      quotasOf: deps.quotasOf,
      onTurn: (actor, task) => this.#takeTurn(actor, task),
      onSuperseded: (actor, task, reason) => this.#background(this.#supersede(actor, task, reason)),
    });
  }

  start(): void {
    this.#unsubscribe = this.#deps.scheduler.subscribe((update) => this.#onUpdate(update));
  }

  async stop(): Promise<void> {
    this.#unsubscribe();
    this.#stopped.abort();
  }

  /** Who holds places in groups and quotas is known before anybody asks for one: called once, before any run is resumed. */
  takeUp(actors: readonly RunActor[]): void {
    this.#admissions.resume(actors);
  }

  /** Why a task does not begin yet, as it is at this moment; undefined when that is not for want of a place. */
  waitOf(run: string, task: string): AdmissionWait | undefined {
    return this.#admissions.waitOf(run, task);
  }

  /** Does again what may not have been done; every step can be repeated. */
  resume(actor: RunActor): void {
    for (const task of actor.state.tasks.values()) {
      if (!isOpen(task)) continue;
      if (task.status !== TaskStatus.WAITING) this.#background(this.#submit(actor, task));
      else if (task.unmetNeeds === 0 && task.planned.gate === undefined) this.#begin(actor, task, task.wait?.cause);
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

  react(actor: RunActor, event: Event): void {
    this.#admissions.react(actor, event);
    const { kind } = event;
    switch (kind.case) {
      case "taskWaiting": {
        const task = actor.state.tasks.get(kind.value.task);
        const cause = kind.value.wait?.cause;
        if (task !== undefined && (cause === WaitCause.PREPARING || isAdmissionWait(cause)))
          this.#begin(actor, task, cause);
        return;
      }
      case "taskSubmitted": {
        const task = actor.state.tasks.get(kind.value.task);
        if (task !== undefined) this.#background(this.#submit(actor, task));
        return;
      }
      case "taskFinished": {
        const executionId = actor.state.tasks.get(kind.value.task)?.executionId ?? "";
        this.#superseded.delete(executionId);
        this.#prepared.delete(executionIdOf(actor.state, kind.value.task));
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

  /** It was told that it has to wait, or asks whether it has to. */
  #begin(actor: RunActor, task: TaskState, cause: WaitCause | undefined): void {
    if (isAdmissionWait(cause)) {
      const hasTurn = this.#admissions.waitOf(actor.state.run, task.name) === undefined;
      if (hasTurn) this.#takeTurn(actor, task.name); // it was given its place before this was written down
    } else if (this.#admissions.mayPrepare(actor, task)) this.#prepare(actor, task);
    else this.#background(this.#do(actor, this.#waiting(actor, task)));
  }

  #takeTurn(actor: RunActor, task: string): void {
    this.#background(this.#do(actor, { kind: "wait", task, cause: WaitCause.PREPARING, detail: "" }));
  }

  #waiting({ state }: RunActor, { name: task }: TaskState): RunCommand {
    const { cause, detail } = this.#admissions.waitOf(state.run, task) ?? { cause: WaitCause.PREPARING, detail: "" };
    return { kind: "wait", task, cause, detail };
  }

  async #supersede(actor: RunActor, task: string | undefined, reason: string): Promise<void> {
    if (task === undefined) return await this.#do(actor, { kind: "cancel", reason });
    await this.#do(actor, { kind: "supersede", task, reason });
    const { executionId = "" } = actor.state.tasks.get(task) ?? {};
    if (!this.#executions.has(executionId)) return;
    this.#superseded.set(executionId, reason);
    this.#deps.scheduler.cancel(executionId, reason);
  }

  /** In turn, a bounded number at a time: each reads trees and writes blobs. */
  #prepare(actor: RunActor, task: TaskState): void {
    this.#preparing.add(async () => await this.#do(actor, await this.#nextStep(actor, task)));
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
    if (!this.#admissions.maySubmit(actor, task)) return this.#waiting(actor, task);
    const executionId = executionIdOf(actor.state, task.name);
    this.#prepared.set(executionId, next.prepared);
    return { kind: "submit", task: task.name, actionDigest: digestToMessage(next.prepared.digest), executionId };
  }

  async #submit(actor: RunActor, task: TaskState): Promise<void> {
    const { executionId, actionDigest } = task;
    const { run, project } = actor.state;
    this.#executions.set(executionId, { actor, task: task.name });
    try {
      const known = this.#prepared.get(executionId);
      this.#prepared.delete(executionId);
      const { signal } = this.#stopped;
      const prepared = known ?? (await readPrepared(this.#deps.cas, digestFromMessage(actionDigest), signal));
      const submitted = this.#deps.scheduler.submit(
        executionRequest(actor.state, task, prepared, this.#deps.quotasOf(project)),
      );
      const cancelReason = actor.state.cancelReason ?? this.#superseded.get(executionId);
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

function isAdmissionWait(cause: WaitCause | undefined): boolean {
  return cause === WaitCause.CONCURRENCY || cause === WaitCause.QUOTA;
}

/** The farm's failure, or the task's own when what it asks for is wrong: artifacts that get in each other's way. */
function unrunnable(task: string, { code, message }: MillraceError): RunCommand {
  const kind = code === "invalid_argument" ? EndingKind.REFUSED : EndingKind.INFRASTRUCTURE;
  return { kind: "finish", task, outcome: { status: TaskStatus.FAILED, ending: { kind, detail: message } } };
}

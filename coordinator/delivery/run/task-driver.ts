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
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import { patiently, retry } from "../../../shared/retry.ts";
import type { ActionCache } from "../../farm/action-cache/action-cache.ts";
import type { ExecutionOutcome, ExecutionUpdate, Scheduler } from "../../farm/scheduler/scheduler.ts";
import { type Admissions, type AdmissionWait, admissions } from "../concurrency/admissions.ts";
import type { Environments } from "../environment/environments.ts";
import type { ProjectView } from "../project/projects.ts";
import type { SecretValues } from "../secret/secret-values.ts";
import { type SecretWaits, secretWaits } from "../secret/secret-waits.ts";
import { type BoundedWork, boundedWork } from "./bounded-work.ts";
import { couldBegin, isToEnd } from "./decide-run.ts";
import { executionIdOf, executionRequest, isOfRun } from "./execution-request.ts";
import { withGeneratedTasks } from "./generate-tasks.ts";
import { outcomeOfExecution } from "./outcome.ts";
import { type PreparedAction, prepareTask, readPrepared } from "./prepare-task.ts";
import type { RunActor } from "./run-actor.ts";
import type { ChangeTask, Origin, RunCommand } from "./run-command.ts";
import { isOpen, type TaskState } from "./task-state.ts";
import { unrunnable } from "./unrunnable.ts";

export interface TaskDriverDeps {
  readonly cas: Cas;
  readonly actionCache: ActionCache;
  readonly scheduler: Scheduler;
  readonly environments: Environments;
  readonly projects: Pick<ProjectView, "cacheZoneOf">;
  /** What connected agents have at this moment. */
  readonly offers: () => readonly ToolOffer[];
  readonly secrets: Pick<SecretValues, "missing" | "subscribe">;
  readonly quotasOf: (project: string) => ProjectQuotas;
  readonly clock: Clock;
  /** Whom the events are due to that follow from what the farm tells. */
  readonly origin: (actor: RunActor) => Origin;
  readonly onError: (error: unknown) => void;
}

/** An execution that the farm was given. */
interface Submitted {
  readonly actor: RunActor;
  /** `stage/task`. */
  readonly task: string;
  /** Of the task; in a later one its end is no news. */
  readonly round: number;
}

/** By this reason the driver knows, also after a restart, that it was itself who took an execution back for a pause. */
const takenBack = "taken back: the run is paused";

/**
 * Turns events of runs into work for the farm, and what the farm tells into commands for runs. It keeps nothing that
 * the log does not have: `resume` puts a new start of the coordinator where the last one was.
 */
export class TaskDriver {
  readonly #deps: TaskDriverDeps;
  /** Executions that the farm was given and that were not forgotten, by id. */
  readonly #executions = new Map<string, Submitted>();
  /** Actions between their preparation and their submission, by the id that their execution gets. */
  readonly #prepared = new Map<string, PreparedAction>();
  readonly #preparing: BoundedWork;
  readonly #admissions: Admissions<RunActor>;
  /** What is submitted when an execution of the same task has ended that is being stopped, by the id of that one. */
  readonly #postponed = new Map<string, { readonly actor: RunActor; readonly task: TaskState }>();
  /** Executions that are to end because a newer run takes their place, with what is said of it. */
  readonly #superseded = new Map<string, string>();
  readonly #secretWaits: SecretWaits;
  readonly #stopped = new AbortController();
  #unsubscribe = (): void => {};

  constructor(deps: TaskDriverDeps) {
    this.#deps = deps;
    this.#secretWaits = secretWaits(deps.secrets);
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
    this.#secretWaits.close();
    this.#stopped.abort();
  }

  /** Who holds places in groups and quotas is known before anybody asks for one: called once, before any run is resumed. */
  takeUp(actors: readonly RunActor[]): void {
    this.#admissions.resume(actors);
  }

  /** A project may run more, or less, than before. */
  quotasChanged(): void {
    this.#admissions.quotasChanged();
  }

  /** Why a task does not begin yet, as it is at this moment; undefined when that is not for want of a place. */
  waitOf(run: string, task: string): AdmissionWait | undefined {
    return this.#admissions.waitOf(run, task);
  }

  /** Does again what may not have been done; every step can be repeated. */
  resume(actor: RunActor): void {
    for (const task of actor.state.tasks.values()) {
      if (task.status === TaskStatus.SKIPPED) this.#release(actor, task);
      else if (!isOpen(task)) continue;
      else if (task.status !== TaskStatus.WAITING) this.#background(this.#submit(actor, task));
      else if (couldBegin(task)) this.#begin(actor, task);
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

  /** The state may be ahead of the event, for a commit may hold several: what counts is what the task does now. */
  react(actor: RunActor, event: Event): void {
    this.#admissions.react(actor, event);
    const { kind } = event;
    switch (kind.case) {
      case "taskWaiting": {
        const task = actor.state.tasks.get(kind.value.task);
        const isDue = task?.status === TaskStatus.WAITING && task.wait?.cause === kind.value.wait?.cause;
        if (isDue && (task.wait?.cause === WaitCause.PREPARING || isAdmissionWait(task))) this.#begin(actor, task);
        return;
      }
      case "taskSubmitted": {
        const task = actor.state.tasks.get(kind.value.task);
        if (task !== undefined && task.executionId === kind.value.executionId && isOpen(task)) {
          this.#background(this.#submit(actor, task));
        }
        return;
      }
      case "taskFinished":
      case "taskRetried":
      case "taskHeldBack":
        return this.#forgetEnded(actor, kind.value.task);
      case "taskSkipped": {
        const task = actor.state.tasks.get(kind.value.task);
        if (task?.status === TaskStatus.SKIPPED) this.#release(actor, task);
        return;
      }
      case "runCancelRequested":
      case "runPaused":
        for (const { executionId } of actor.state.tasks.values()) this.#stopUnwanted(executionId);
        return;
      default:
    }
  }

  /** Its outcome is on disk, or it had none: nobody asks for it any more. */
  #forgetEnded(actor: RunActor, name: string): void {
    const task = actor.state.tasks.get(name);
    if (task === undefined) return;
    for (const round of [task.round, task.round - 1]) {
      const id = executionIdOf(actor.state, { name, round });
      this.#prepared.delete(id);
      this.#superseded.delete(id);
      this.#secretWaits.leave(id);
      const isOver = round < task.round || !isOpen(task);
      if (isOver && this.#executions.delete(id)) this.#background(this.#deps.scheduler.forget(id));
    }
  }

  /** It was skipped: what the farm has of it is stopped, and forgotten when that is over. */
  #release(actor: RunActor, { name, round, executionId, skipReason }: TaskState): void {
    const id = executionIdOf(actor.state, { name, round });
    this.#prepared.delete(id);
    this.#secretWaits.leave(id);
    if (executionId === "") return;
    this.#executions.set(executionId, { actor, task: name, round });
    this.#deps.scheduler.cancel(executionId, skipReason);
  }

  /** Stops an execution whose end was asked for, and takes one back that waits while its run is paused. */
  #stopUnwanted(executionId: string): void {
    const submitted = this.#executions.get(executionId);
    const task = submitted?.actor.state.tasks.get(submitted.task);
    if (submitted === undefined || task === undefined) return;
    const { state } = submitted.actor;
    const superseded = this.#superseded.get(executionId);
    if (!isOpen(task)) this.#deps.scheduler.cancel(executionId, task.skipReason);
    else if (superseded !== undefined) this.#deps.scheduler.cancel(executionId, superseded);
    else if (isToEnd(state, task)) this.#deps.scheduler.cancel(executionId, state.cancelReason ?? "");
    else if (state.pause !== undefined) this.#deps.scheduler.cancel(executionId, takenBack, "unbegun");
  }

  /** It asks whether it may; when it was told to wait, it has done so. */
  #begin(actor: RunActor, task: TaskState): void {
    const lacking = this.#secretWaits.reason({ project: actor.state.project, planned: task.planned });
    if (lacking !== undefined) this.#background(this.#awaitSecret(actor, task, lacking));
    else if (isAdmissionWait(task)) {
      const hasTurn = this.#admissions.waitOf(actor.state.run, task.name) === undefined;
      if (hasTurn) this.#takeTurn(actor, task.name); // it was given its place before this was written down
    } else if (this.#admissions.mayPrepare(actor, task)) this.#prepare(actor, task);
    else this.#background(this.#do(actor, { ...this.#waiting(actor, task), round: task.round }));
  }

  /** Watched only once the wait is in the log: what is said of its end must come after it. */
  async #awaitSecret(actor: RunActor, { name, round, planned }: TaskState, detail: string): Promise<void> {
    await this.#do(actor, { kind: "wait", task: name, round, cause: WaitCause.SECRET, detail });
    const user = { project: actor.state.project, planned };
    this.#secretWaits.watch(executionIdOf(actor.state, { name, round }), user, () => {
      const waitsStill = actor.state.tasks.get(name)?.wait?.cause === WaitCause.SECRET;
      if (waitsStill) this.#takeTurn(actor, name);
    });
  }

  #takeTurn(actor: RunActor, task: string): void {
    this.#background(this.#do(actor, { kind: "wait", task, cause: WaitCause.PREPARING, detail: "" }));
  }

  #waiting({ state }: RunActor, { name: task }: TaskState): ChangeTask {
    const { cause, detail } = this.#admissions.waitOf(state.run, task) ?? { cause: WaitCause.PREPARING, detail: "" };
    return { kind: "wait", task, cause, detail };
  }

  async #supersede(actor: RunActor, task: string | undefined, reason: string): Promise<void> {
    if (task === undefined) return await this.#do(actor, { kind: "cancel", reason });
    await this.#do(actor, { kind: "supersede", task, reason });
    const { executionId = "" } = actor.state.tasks.get(task) ?? {};
    if (!this.#executions.has(executionId)) return;
    this.#superseded.set(executionId, reason);
    this.#stopUnwanted(executionId);
  }

  /** In turn, a bounded number at a time: each reads trees and writes blobs. */
  #prepare(actor: RunActor, task: TaskState): void {
    const { round } = task;
    this.#preparing.add(async () => {
      // While it waited for its turn it may have ended, or begun anew.
      if (task.round !== round || !couldBegin(task)) return;
      await this.#do(actor, { ...(await this.#nextStep(actor, task)), round });
      // What was not submitted then is never asked for: it is prepared again.
      this.#prepared.delete(executionIdOf(actor.state, { name: task.name, round }));
    });
  }

  async #nextStep(actor: RunActor, task: TaskState): Promise<ChangeTask> {
    const { name, round } = task;
    if (task.planned.gate !== undefined) return { kind: "open-gate", task: name };
    const onNoAgent = (detail: string) =>
      this.#background(this.#do(actor, { kind: "wait", task: name, round, cause: WaitCause.NO_AGENT_MATCHES, detail }));
    const executionId = executionIdOf(actor.state, task);
    const deps = { ...this.#deps, onNoAgent };
    const next = await prepareTask(deps, actor.state, task, this.#stopped.signal).catch((error: unknown) =>
      from(error, `preparing ${name} of ${actor.state.run}`),
    );
    if (next instanceof MillraceError) return unrunnable(name, next);
    if (next.kind === "cached") return next.command;
    // While it was prepared it may have ended, or begun anew, or been paused: then nothing comes of this.
    const isDue = task.round === round && couldBegin(task);
    if (isDue && !this.#admissions.maySubmit(actor, task)) return this.#waiting(actor, task);
    if (isDue) this.#prepared.set(executionId, next.prepared);
    return { kind: "submit", task: name, actionDigest: digestToMessage(next.prepared.digest), executionId };
  }

  async #submit(actor: RunActor, task: TaskState): Promise<void> {
    const { name, round, executionId, actionDigest } = task;
    const { run, project } = actor.state;
    // Skipped, and wanted again at once: no task is executed twice at one time.
    const former = executionIdOf(actor.state, { name, round: round - 1 });
    if (this.#executions.has(former)) return void this.#postponed.set(former, { actor, task });
    this.#executions.set(executionId, { actor, task: name, round });
    try {
      const known = this.#prepared.get(executionId);
      this.#prepared.delete(executionId);
      const { signal } = this.#stopped;
      const prepared = known ?? (await readPrepared(this.#deps.cas, digestFromMessage(actionDigest), signal));
      // While it was read its report may have come: the farm has forgotten it, and would execute it once more.
      if (task.round !== round || !this.#executions.has(executionId)) return;
      const submitted = this.#deps.scheduler.submit(
        executionRequest(actor.state, task, prepared, this.#deps.quotasOf(project)),
      );
      this.#stopUnwanted(executionId);
      await submitted;
    } catch (error) {
      const command = unrunnable(name, from(error, `submitting ${name} of ${run}`));
      await this.#do(actor, { ...command, round });
    }
  }

  #onUpdate(update: ExecutionUpdate): void {
    const known = this.#executions.get(update.id);
    if (known === undefined) return;
    const { actor, task, round } = known;
    switch (update.kind) {
      case "waiting": {
        const { cause, detail } = update;
        this.#background(this.#do(actor, { kind: "wait", task, round, cause, detail }));
        if (actor.state.pause !== undefined) this.#stopUnwanted(update.id); // it is in the queue once more
        return;
      }
      case "started": {
        const { attempt, agent, execution: executionId } = update;
        this.#background(this.#do(actor, { kind: "start", task, round, attempt, agent, executionId }));
        return;
      }
      case "finished":
        this.#background(this.#finish(update.id, known, update.outcome));
        return;
      default:
        update satisfies never;
    }
  }

  async #finish(id: string, { actor, task: name, round }: Submitted, execution: ExecutionOutcome): Promise<void> {
    const task = actor.state.tasks.get(name);
    if (task === undefined) return;
    await this.#deployed(actor, task, id, execution);
    const isTakenBack = execution.ending.kind === EndingKind.CANCELLED && execution.ending.detail === takenBack;
    const command: ChangeTask = isTakenBack
      ? { kind: "hold-back", task: name }
      : await this.#conclusion(actor, task, execution);
    await this.#do(actor, { ...command, round });
    // It was skipped, or begun anew, while it was stopped: then no event tells of its end.
    if (this.#stopped.signal.aborted || !this.#executions.delete(id)) return;
    const next = this.#postponed.get(id);
    this.#postponed.delete(id);
    if (next !== undefined && next.task.status === TaskStatus.QUEUED) {
      this.#background(this.#submit(next.actor, next.task));
    }
    await this.#deps.scheduler.forget(id);
  }

  async #conclusion(actor: RunActor, task: TaskState, execution: ExecutionOutcome): Promise<ChangeTask> {
    const { name, planned, actionDigest } = task;
    try {
      const outcome = await outcomeOfExecution(this.#deps.cas, planned, execution, this.#stopped.signal);
      const about = { ...outcome, ...(actionDigest === undefined ? {} : { actionDigest }) };
      const made = { outcome: about, result: execution.result };
      const done = await withGeneratedTasks(this.#deps, actor.state, task, made, this.#stopped.signal);
      return { kind: "finish", task: name, ...done };
    } catch (error) {
      return unrunnable(name, from(error, `reading the result of ${name} of ${actor.state.run}`));
    }
  }

  /** The environment first, the task second: what a crash leaves out between them is done again. */
  async #deployed(
    { state }: RunActor,
    { name }: TaskState,
    executionId: string,
    { deployment }: ExecutionOutcome,
  ): Promise<void> {
    if (deployment === undefined) return;
    const { run, project } = state;
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

function isAdmissionWait({ wait }: TaskState): boolean {
  return wait?.cause === WaitCause.CONCURRENCY || wait?.cause === WaitCause.QUOTA;
}

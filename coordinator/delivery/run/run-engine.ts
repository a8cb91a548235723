import { create } from "@bufbuild/protobuf";
import { type Event, type RunStatus, TaskStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type Gate, GateSchema, type Run, type RunRequest } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import type { Clock } from "../../../shared/clock.ts";
import { digestToMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import type { Turns } from "../../../shared/turns.ts";
import type { ActionCache } from "../../farm/action-cache/action-cache.ts";
import type { Scheduler } from "../../farm/scheduler/scheduler.ts";
import type { EventStore } from "../../store/event-store.ts";
import { withPresentWaits } from "../concurrency/present-waits.ts";
import { type RunRoom, runRoom } from "../concurrency/project-quotas.ts";
import type { Environments } from "../environment/environments.ts";
import type { PipelineEvaluations } from "../evaluation/pipeline-evaluations.ts";
import { type ProjectView, projectNamed } from "../project/projects.ts";
import type { SecretValues } from "../secret/secret-values.ts";
import { planSupplied, type RunSource, type SourceSupplier } from "../source/run-source.ts";
import { type Candidate, type Candidates, candidateOf } from "./candidates.ts";
import { type KeptPlans, keptPlans } from "./kept-plans.ts";
import { type Evaluate, planSource } from "./plan-source.ts";
import { requireInputs } from "./require-inputs.ts";
import { RunActor } from "./run-actor.ts";
import type { ChangeRun, Origin, RunCommand } from "./run-command.ts";
import type { RunState } from "./run-state.ts";
import type { Retry, RunSteering, Skipped } from "./run-steering.ts";
import type { RunSummaries } from "./run-summaries.ts";
import { gateOfStage, runLine, runView } from "./run-view.ts";
import {
  type Asker,
  type Calling,
  type EvidenceFile,
  type GateName,
  type Gates,
  type GateWord,
  type KeptRuns,
  type RunEvent,
  type RunHistories,
  type RunPins,
  type RunProjects,
  type RunSelection,
  type Runs,
  runName,
  runNumber,
} from "./runs.ts";
import { TaskDriver } from "./task-driver.ts";
import { tasksNamed } from "./task-named.ts";
import type { TaskState } from "./task-state.ts";
import { type TaskTimers, taskTimers } from "./task-timers.ts";

export interface RunEngineDeps {
  readonly store: EventStore;
  readonly summaries: RunSummaries;
  readonly cas: Cas;
  readonly actionCache: ActionCache;
  readonly scheduler: Scheduler;
  readonly environments: Environments;
  readonly evaluations: PipelineEvaluations;
  readonly secrets: Pick<SecretValues, "missing" | "subscribe">;
  readonly projects: ProjectView;
  readonly candidates: Candidates;
  readonly clock: Clock;
  /** In which runs are changed that may have finished, and removed: a run that was just pinned must not go. */
  readonly pinning: Turns;
  /** What connected agents have at this moment. */
  readonly offers: () => readonly ToolOffer[];
  /** Told of every event of every run once it is on disk: metrics, later notifications. */
  readonly onEvent: (event: Event) => void;
  readonly onError: (error: unknown) => void;
}

type Supplied = RunSource | SourceSupplier;

/** Runs in progress, each an actor; finished ones are read back from the log when somebody asks. */
export class RunEngine implements Runs, RunProjects, RunSteering, Gates, RunPins, KeptRuns, RunHistories, Component {
  readonly name = "runs";
  readonly #deps: RunEngineDeps;
  readonly #driver: TaskDriver;
  readonly #timers: TaskTimers<RunActor>;
  readonly #active = new Map<string, RunActor>();
  /** Runs by project and idempotency key, so that two submits at once give one; older ones are in the summaries. */
  readonly #byKey = new Map<string, Promise<string>>();
  readonly #room: RunRoom;
  readonly #kept: KeptPlans = keptPlans(limits.keptPlanItems);
  #lastNumber = 0;

  constructor(deps: RunEngineDeps) {
    this.#deps = deps;
    const origin = (actor: RunActor): Origin => this.#systemOrigin(actor);
    const { quotasOf } = deps.projects;
    this.#driver = new TaskDriver({ ...deps, quotasOf, origin });
    this.#timers = taskTimers({ ...deps, origin, perform: (actor, ...what) => this.#onTime(actor, ...what) });
    const unfinishedOf = (project: string) => this.active().filter((state) => state.project === project).length;
    this.#room = runRoom({ quotasOf, unfinishedOf });
  }

  /** Takes up every run that had not finished when the coordinator ended. */
  async start(): Promise<void> {
    this.#lastNumber = await this.#deps.summaries.lastNumber();
    this.#driver.start();
    const actors = (await this.#deps.summaries.unfinished()).map((run) => this.#actor(run));
    for (let from = 0; from < actors.length; from += limits.runsLoading) {
      await Promise.all(actors.slice(from, from + limits.runsLoading).map((actor) => actor.load()));
    }
    this.#driver.takeUp(actors);
    for (const actor of actors) {
      this.#active.set(actor.state.run, actor);
      this.#driver.resume(actor);
      this.#timers.resume(actor);
    }
    this.#driver.forgetLeftovers();
  }

  async stop(): Promise<void> {
    this.#timers.stop();
    await this.#driver.stop();
  }

  /** A project may run more, or less, than before. */
  quotasChanged(): void {
    this.#driver.quotasChanged();
  }

  async submit(asker: Asker, request: RunRequest, source: Supplied, calling: Calling): Promise<string> {
    if (request.idempotencyKey === "") return await this.#submit(asker, request, source, calling);
    const key = JSON.stringify([projectNamed(request.project), request.idempotencyKey]);
    const present = this.#byKey.get(key);
    if (present !== undefined) return await present;
    const submitted = this.#submitOnce(asker, request, source, calling);
    this.#byKey.set(key, submitted);
    submitted.catch(() => this.#byKey.delete(key)); // the caller is told; the key is free again
    const [oldest] = this.#byKey.keys();
    if (this.#byKey.size > limits.idempotencyKeys && oldest !== undefined) this.#byKey.delete(oldest);
    return await submitted;
  }

  async get(run: string): Promise<Run> {
    const actor = await this.#find(run);
    const view = runView(actor.state);
    for (const { stage, gate } of view.tasks) {
      if (gate?.binding === undefined || gate.decided !== undefined) continue;
      const newer = await this.#deps.candidates.newerThan(candidateOfActor(actor), stage);
      gate.supersededBy = newer?.run ?? "";
    }
    return withPresentWaits(view, (task) => this.#driver.waitOf(run, task));
  }

  async projectOf(run: string): Promise<string | undefined> {
    const number = runNumber(run);
    if (number === undefined) return undefined;
    const active = this.#active.get(run);
    if (active !== undefined) return active.state.project;
    const [line] = await this.#deps.summaries.list({ before: number + 1, limit: 1 });
    if (line?.name === run) return line.project;
    return (await this.stateOf(run))?.project; // it has just ended, and its line follows
  }

  async list({ before = Number.MAX_SAFE_INTEGER, limit, projects }: RunSelection): Promise<Run[]> {
    // The summaries follow the log a moment later; what is in progress is known better here.
    const byNumber = new Map<number, Run>();
    const lines = await this.#deps.summaries.list({ before, limit, projects });
    for (const run of lines) byNumber.set(runNumber(run.name) ?? 0, run);
    for (const [run, actor] of this.#active) {
      const number = runNumber(run) ?? 0;
      const isAsked = projects === undefined || projects.includes(actor.state.project);
      if (number < before && isAsked) byNumber.set(number, runLine(actor.state));
    }
    return [...byNumber]
      .sort(([a], [b]) => b - a)
      .slice(0, limit)
      .map(([, run]) => run);
  }

  async *watch(run: string, afterSequence: number, signal: AbortSignal): AsyncGenerator<RunEvent> {
    const actor = await this.#find(run);
    yield* actor.watch(afterSequence, signal);
  }

  async cancel(asker: Asker, run: string, reason: string): Promise<RunStatus> {
    const actor = await this.#find(run);
    const { status } = actor.state;
    await actor.do({ kind: "cancel", reason }, this.#origin(asker, actor.state.project));
    return status;
  }

  async retry(asker: Asker, run: string, wanted: Retry): Promise<readonly string[]> {
    const command = { kind: "reopen", ...wanted } as const;
    const events = await this.#changeAny(asker, run, command, async (actor) => {
      if (actor.finished) await requireInputs(this.#deps.cas, actor.state, command);
    });
    const reopened = new Set(events.flatMap(({ kind }) => (kind.case === "tasksReopened" ? kind.value.tasks : [])));
    return [...(await this.#find(run)).state.tasks.keys()].filter((task) => reopened.has(task));
  }

  async pause(asker: Asker, run: string, reason: string): Promise<void> {
    await this.#changeAny(asker, run, { kind: "pause", reason });
  }

  async resume(asker: Asker, run: string): Promise<void> {
    await this.#changeAny(asker, run, { kind: "resume" });
  }

  async skip(asker: Asker, run: string, { task, reason }: { task: string; reason: string }): Promise<Skipped> {
    const events = await this.#changeAny(asker, run, { kind: "skip", task, reason, by: asker.principal });
    const skipped = new Set(events.flatMap(({ kind }) => (kind.case === "taskSkipped" ? [kind.value.task] : [])));
    const named = tasksNamed((await this.#find(run)).state, task);
    const namesOf = (some: readonly TaskState[]) => some.map(({ name }) => name);
    return {
      tasks: namesOf(named.filter(({ name }) => skipped.has(name))),
      running: namesOf(named.filter(({ status }) => status === TaskStatus.RUNNING)),
    };
  }

  async comment(asker: Asker, run: string, { task, text }: { task: string; text: string }): Promise<void> {
    await this.#changeAny(asker, run, { kind: "comment", task, text });
  }

  async decideGate(asker: Asker, { run, ...word }: GateWord): Promise<Gate> {
    const actor = await this.#find(run);
    const command = { kind: "decide-gate", ...word, by: asker.principal } as const;
    await this.#deps.candidates.decide(candidateOfActor(actor), word.stage, (newer) =>
      actor.do({ ...command, newer }, this.#origin(asker, actor.state.project)),
    );
    return gateOfStage(actor.state, word.stage) ?? create(GateSchema);
  }

  async withdrawVote(asker: Asker, { run, stage }: GateName): Promise<boolean> {
    const actor = await this.#find(run);
    const command = { kind: "withdraw-vote", stage, by: asker.principal } as const;
    return (await actor.do(command, this.#origin(asker, actor.state.project))).length > 0;
  }

  async addEvidence(asker: Asker, { run, stage, name, digest }: EvidenceFile): Promise<void> {
    const actor = await this.#find(run);
    const command = { kind: "add-evidence", stage, name, digest: digestToMessage(digest) } as const;
    await actor.do(command, this.#origin(asker, actor.state.project));
  }

  /** What is due by time; a gate is decided in turn with what people decide. */
  async #onTime(actor: RunActor, command: RunCommand, origin: Origin): Promise<void> {
    if (command.kind !== "gate-timeout") return void (await actor.do(command, origin));
    const stage = actor.state.tasks.get(command.task)?.planned.stage ?? "";
    await this.#deps.candidates.decide(candidateOfActor(actor), stage, (newer) =>
      actor.do({ ...command, newer }, origin),
    );
  }

  async pin(asker: Asker, run: string, reason: string): Promise<void> {
    await this.#changeAny(asker, run, { kind: "pin", reason });
  }

  async unpin(asker: Asker, run: string): Promise<void> {
    await this.#changeAny(asker, run, { kind: "unpin" });
  }

  active(): readonly RunState[] {
    return [...this.#active.values()].map(({ state }) => state);
  }

  async stateOf(run: string): Promise<RunState | undefined> {
    const actor = this.#actor(run);
    await actor.load();
    return actor.state.sequence === 0 ? undefined : actor.state;
  }

  async forget(runs: readonly string[]): Promise<void> {
    const gone = new Set(runs);
    for (const [key, submitted] of this.#byKey) {
      const run = await submitted.catch(() => undefined); // its caller was told, and the key is free
      if (run !== undefined && gone.has(run)) this.#byKey.delete(key);
    }
  }

  /**
   * A change of a run that may have finished. In turn, so that two words at once about it do not meet in the log, and it is
   * not removed meanwhile.
   */
  async #changeAny(
    asker: Asker,
    run: string,
    command: ChangeRun,
    check?: (actor: RunActor) => Promise<void>,
  ): Promise<readonly Event[]> {
    return await this.#deps.pinning.take(async () => {
      const actor = await this.#find(run);
      await check?.(actor);
      return await actor.do(command, this.#origin(asker, actor.state.project));
    });
  }

  async history(run: string): Promise<readonly Event[]> {
    return (await this.#find(run)).history;
  }

  async #submitOnce(asker: Asker, request: RunRequest, source: Supplied, calling: Calling): Promise<string> {
    const known = await this.#deps.summaries.byKey(projectNamed(request.project), request.idempotencyKey);
    return known ?? (await this.#submit(asker, request, source, calling));
  }

  async #submit(asker: Asker, request: RunRequest, source: Supplied, calling: Calling): Promise<string> {
    const project = projectNamed(request.project);
    const release = this.#deps.projects.hold(project);
    try {
      return await this.#room.within(project, () => this.#start(asker, request, source, calling));
    } finally {
      release();
    }
  }

  async #start(asker: Asker, request: RunRequest, source: Supplied, calling: Calling): Promise<string> {
    const project = projectNamed(request.project);
    const { signal } = calling;
    const deps = { ...this.#deps, kept: this.#kept, evaluate: this.#evaluate(project, calling) };
    const supplied = await planSupplied(source, ({ root, git }) => planSource({ ...deps, git }, request, root, signal));
    const { root, git } = supplied.source;
    const { blobs, evaluated, ...plan } = supplied.planned;
    await this.#deps.cas.writeMany(blobs, signal);
    const run = runName(++this.#lastNumber);
    const actor = this.#actor(run);
    const { idempotencyKey } = request;
    const gave = evaluated === undefined ? {} : { evaluatedPipeline: digestToMessage(evaluated) };
    const command = { kind: "request", ...plan, ...gave, source: digestToMessage(root), git, idempotencyKey } as const;
    await actor.do(command, this.#origin(asker, project));
    return run;
  }

  /** Pipelines of projects that share results share evaluations. */
  #evaluate(project: string, { onProgress = () => {} }: Calling): Evaluate {
    const { evaluations, offers, projects } = this.#deps;
    const scope = { project, cacheZone: projects.cacheZoneOf(project) };
    return (file, source, signal) =>
      evaluations.evaluate({ file, source, scope, offers: offers() }, signal, onProgress);
  }

  #actor(run: string): RunActor {
    return new RunActor(run, { store: this.#deps.store, onEvents: (actor, events) => this.#onEvents(actor, events) });
  }

  #onEvents(actor: RunActor, events: readonly Event[]): void {
    const { run } = actor.state;
    if (actor.finished) this.#active.delete(run);
    else this.#active.set(run, actor);
    for (const event of events) {
      this.#driver.react(actor, event);
      this.#timers.react(actor, event);
      this.#deps.onEvent(event);
    }
  }

  async #find(run: string): Promise<RunActor> {
    const active = this.#active.get(run);
    if (active !== undefined) return active;
    const actor = this.#actor(run);
    if (runNumber(run) !== undefined) await actor.load();
    if (actor.state.sequence === 0)
      throw new MillraceError("not_found", `there is no run ${run}: see \`millrace runs\``);
    // It may have been submitted while the log was read.
    return this.#active.get(run) ?? actor;
  }

  #origin({ principal, traceparent }: Asker, project: string): Origin {
    return { principal: principal.name, project, traceparent, nowMs: this.#deps.clock.nowMs() };
  }

  #systemOrigin({ state }: RunActor): Origin {
    const { project, traceparent } = state;
    return { principal: "system:runs", project, traceparent, nowMs: this.#deps.clock.nowMs() };
  }
}

function candidateOfActor({ state, history }: RunActor): Candidate {
  const { run, project, pipeline } = state;
  return candidateOf(run, history) ?? { run, project, pipeline, branch: "" };
}

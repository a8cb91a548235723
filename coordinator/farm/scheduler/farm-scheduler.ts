import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import {
  type HeldExecution,
  type Report,
  ReportOutcome,
  ReportReplySchema,
  ReportSchema,
} from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Bus, BusMessage } from "../../../shared/bus/bus.ts";
import { subjects } from "../../../shared/bus/subjects.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentChange, AgentRegistry } from "../agents/agent-registry.ts";
import { type AssignAnswer, type Dispatcher, isEpoch } from "./dispatcher.ts";
import {
  type Execution,
  finishedUpdate,
  newExecution,
  outcomeWithoutReport,
  presentUpdate,
  sameAttempt,
  startedUpdate,
  waitDetail,
} from "./execution.ts";
import type { ExecutionTable, Lease, StoredExecution } from "./execution-table.ts";
import { anyMatch, nextPlacement, type Place } from "./placement.ts";
import type { ExecutionRequest, ExecutionUpdate, Scheduler, SchedulerStats } from "./scheduler.ts";
import { slots } from "./slots.ts";
import { waitingQueue } from "./waiting-queue.ts";

export interface FarmSchedulerDeps {
  readonly bus: Bus;
  readonly agents: AgentRegistry;
  readonly dispatcher: Dispatcher;
  readonly table: ExecutionTable;
  /** Of this start of the coordinator. */
  readonly term: number;
  /** Keeps what a finished execution is worth, before anybody is told: the action cache. */
  readonly keep: (request: ExecutionRequest, report: Report) => Promise<void>;
  /** An attempt will write no more: its log can be closed. */
  readonly attemptEnded: (executionId: string, attempt: number) => Promise<void>;
  readonly onError: (error: unknown) => void;
}

/** The scheduler of a farm: the only writer of leases. Its states are told in execution.ts. */
export class FarmScheduler implements Scheduler, Component {
  readonly name = "scheduler";
  readonly #deps: FarmSchedulerDeps;
  readonly #executions = new Map<string, Execution>();
  readonly #queue = waitingQueue();
  readonly #slots = slots();
  /** Agents that refused something: not asked again before their next heartbeat. */
  readonly #refusing = new Set<string>();
  /** Executions whose submitter has not been told why they wait. */
  readonly #unexplained = new Set<Execution>();
  /** Why each line waits, by requirement. */
  #causes: ReadonlyMap<string, WaitCause> = new Map();
  readonly #listeners = new Set<(update: ExecutionUpdate) => void>();
  readonly #ends: (() => void)[] = [];
  #epochs = 0;
  #placing = false;

  constructor(deps: FarmSchedulerDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    for (const row of await this.#deps.table.load()) this.#restore(row);
    const { agents, bus } = this.#deps;
    this.#ends.push(
      agents.subscribe((change) => this.#onAgent(change)),
      await bus.subscribe(subjects.report("*"), (message) => this.#background(this.#onReport(message))),
    );
  }

  async stop(): Promise<void> {
    for (const end of this.#ends) end();
  }

  async submit(request: ExecutionRequest): Promise<void> {
    const known = this.#executions.get(request.id);
    if (known !== undefined) {
      await known.stored;
      const update = presentUpdate(known);
      if (update !== undefined) this.#tell(update);
      return;
    }
    if (this.#queue.size >= limits.queuedExecutions) {
      throw new MillraceError("resource_exhausted", `${this.#queue.size} executions are queued; try again later`);
    }
    const execution = newExecution(request, this.#deps.table.insert(request));
    this.#executions.set(request.id, execution);
    try {
      await execution.stored;
    } catch (error) {
      this.#executions.delete(request.id);
      throw from(error, `storing the execution ${request.id}`);
    }
    if (execution.cancelReason === undefined) this.#enqueue(execution);
    else await this.#endWithoutReport(execution, EndingKind.CANCELLED, execution.cancelReason);
  }

  cancel(id: string, reason: string): void {
    const execution = this.#executions.get(id);
    if (execution === undefined || execution.phase.kind === "finished") return;
    execution.cancelReason = reason;
    if (execution.phase.kind === "held") this.#sendCancel(execution);
    if (execution.phase.kind !== "queued") return;
    this.#queue.remove(id);
    this.#background(this.#endWithoutReport(execution, EndingKind.CANCELLED, reason));
  }

  async forget(id: string): Promise<void> {
    if (this.#executions.get(id)?.phase.kind !== "finished") return;
    this.#executions.delete(id);
    await this.#deps.table.remove(id);
  }

  subscribe(listener: (update: ExecutionUpdate) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  stats(): SchedulerStats {
    const heldBy = this.#slots.snapshot();
    const running = [...heldBy.values()].reduce((sum, ids) => sum + ids.length, 0);
    return { queued: this.#queue.size, running, heldBy };
  }

  // --- placing ---------------------------------------------------------------------------------------------------

  #enqueue(execution: Execution): void {
    execution.phase = { kind: "queued" };
    const { id, priority, fairGroup } = execution.request;
    this.#queue.add({ id, priority, fairGroup, requirement: execution.requirement });
    this.#unexplained.add(execution);
    this.#place();
  }

  /** Places what can be placed, once for all that changed in this turn of the loop. */
  #place(): void {
    if (this.#placing) return;
    this.#placing = true;
    queueMicrotask(() => {
      this.#placing = false;
      for (;;) {
        const next = nextPlacement(this.#queue, this.#places(), (group) => this.#slots.runningOf(group));
        const execution = next && this.#executions.get(next.waiting.id);
        if (next === undefined || execution === undefined) break;
        this.#queue.remove(next.waiting.id);
        this.#background(this.#assign(execution, next.agentId));
      }
      this.#explain();
    });
  }

  #places(): Place[] {
    return this.#deps.agents
      .list()
      .filter(({ state, heard, info }) => state === AgentState.ONLINE && heard && !this.#refusing.has(info.id))
      .map(({ info: { id, labels, slots } }) => ({ id, labels, slots, used: this.#slots.used(id) }));
  }

  /** Tells why each waits: the new ones, and whole lines whose cause has changed. */
  #explain(): void {
    const places = this.#places();
    const causes = new Map<string, WaitCause>();
    for (const requirement of this.#queue.requirements()) {
      const cause = anyMatch(places, requirement) ? WaitCause.AGENTS_BUSY : WaitCause.NO_AGENT_MATCHES;
      causes.set(requirement.key, cause);
      if (this.#causes.get(requirement.key) === cause) continue;
      for (const { id } of this.#queue.waitingFor(requirement)) {
        const execution = this.#executions.get(id);
        if (execution !== undefined) this.#unexplained.add(execution);
      }
    }
    this.#causes = causes;
    for (const execution of this.#unexplained) {
      const cause = causes.get(execution.requirement.key) ?? WaitCause.AGENTS_BUSY;
      if (execution.phase.kind === "queued") this.#tellWait(execution, cause);
    }
    this.#unexplained.clear();
  }

  #tellWait(execution: Execution, cause: WaitCause, detail = waitDetail(execution, cause)): void {
    if (execution.wait?.cause === cause) return;
    execution.wait = { cause, detail };
    this.#tell({ kind: "waiting", id: execution.request.id, ...execution.wait });
  }

  async #assign(execution: Execution, agentId: string): Promise<void> {
    execution.attempts += 1;
    const epoch = { term: this.#deps.term, number: ++this.#epochs };
    const lease: Lease = { agentId, epoch, attempt: execution.attempts };
    execution.phase = { kind: "assigning", lease };
    this.#slots.take(execution, lease);
    const answer = await this.#hand(execution, lease);
    if (execution.phase.kind !== "assigning" || execution.phase.lease !== lease) return;
    if (answer.kind === "accepted") {
      this.#started(execution, lease);
      return;
    }
    this.#refusing.add(agentId);
    if (answer.kind === "refused") execution.attempts -= 1;
    this.#loseLease(
      execution,
      lease,
      answer.kind === "unknown" ? `${agentId} did not answer: ${answer.why}` : undefined,
    );
  }

  async #hand({ request, attempts }: Execution, lease: Lease): Promise<AssignAnswer> {
    try {
      await this.#deps.table.lease(request.id, attempts, lease);
    } catch (error) {
      this.#deps.onError(from(error, `storing the lease of ${request.id}`));
      return { kind: "refused", why: "the lease could not be stored" };
    }
    return await this.#deps.dispatcher.assign(request, lease);
  }

  #started(execution: Execution, lease: Lease): void {
    execution.phase = { kind: "held", lease };
    execution.wait = undefined;
    this.#tell(startedUpdate(execution.request.id, lease));
    if (execution.cancelReason !== undefined) this.#sendCancel(execution);
  }

  // --- losing ----------------------------------------------------------------------------------------------------

  /**
   * The attempt came to nothing: another one, unless the budget is used up or nobody wants it any more. `lost` says what
   * became of it; undefined when the agent never took it.
   */
  #loseLease(
    execution: Execution,
    lease: Lease,
    lost: string | undefined,
    last: EndingKind = EndingKind.AGENT_LOST,
  ): void {
    const { id } = execution.request;
    this.#slots.free(execution, lease);
    if (lost !== undefined) this.#background(this.#deps.attemptEnded(id, lease.attempt));
    this.#background(this.#deps.table.lease(id, execution.attempts, undefined));
    if (execution.cancelReason !== undefined) {
      this.#background(this.#endWithoutReport(execution, EndingKind.CANCELLED, execution.cancelReason));
    } else if (execution.attempts >= limits.infrastructureAttempts) {
      const detail = `${execution.attempts} attempts came to nothing, the last one because ${lost ?? "it was refused"}`;
      this.#background(this.#endWithoutReport(execution, last, detail));
    } else {
      this.#enqueue(execution);
      if (lost !== undefined) this.#tellWait(execution, WaitCause.AGENT_LOST, `attempt ${lease.attempt}: ${lost}`);
    }
  }

  #onAgent(change: AgentChange): void {
    const { id } = change.agent.info;
    if (change.kind === "heartbeat") {
      this.#refusing.delete(id);
      this.#reconcile(id, change.held);
    } else if (change.kind === "lost" || change.kind === "left") {
      for (const execution of this.#slots.heldOn(id)) {
        const { phase } = execution;
        const lost = change.kind === "left" ? `${id} left` : `${id} was not heard for ${limits.leaseMs / 1000} s`;
        if (phase.kind === "assigning" || phase.kind === "held") this.#loseLease(execution, phase.lease, lost);
      }
    }
    this.#place();
  }

  /** An agent says what it holds; what we think it holds and what it should not hold are both put right. */
  #reconcile(agentId: string, held: readonly HeldExecution[]): void {
    const reported = new Map(held.map(({ executionId, epoch }) => [executionId, epoch]));
    for (const execution of this.#slots.heldOn(agentId)) {
      const { phase } = execution;
      // While an assignment is under way a heartbeat may have been sent before it arrived, and proves nothing.
      if (phase.kind !== "held") continue;
      if (!isEpoch(reported.get(execution.request.id), phase.lease.epoch)) {
        this.#loseLease(execution, phase.lease, `${agentId} does not hold it any more`);
      } else if (execution.cancelReason !== undefined) this.#sendCancel(execution);
    }
    for (const { executionId, epoch } of held) {
      const phase = this.#executions.get(executionId)?.phase;
      if (epoch === undefined || (phase !== undefined && "lease" in phase && isEpoch(epoch, phase.lease.epoch)))
        continue;
      const fenced = { term: Number(epoch.term), number: Number(epoch.number) };
      const reason = "another attempt has taken its place";
      this.#background(this.#deps.dispatcher.cancel(agentId, executionId, fenced, reason));
    }
  }

  #sendCancel({ request, phase, cancelReason = "cancelled" }: Execution): void {
    if (!("lease" in phase)) return;
    const { agentId, epoch } = phase.lease;
    this.#background(this.#deps.dispatcher.cancel(agentId, request.id, epoch, cancelReason));
  }

  // --- ending ----------------------------------------------------------------------------------------------------

  async #onReport(message: BusMessage): Promise<void> {
    const accepted = await this.#accept(fromBinary(ReportSchema, message.data));
    const outcome = accepted ? ReportOutcome.ACCEPTED : ReportOutcome.FENCED;
    message.reply(toBinary(ReportReplySchema, create(ReportReplySchema, { outcome })));
  }

  /** Whether this report is the one that counts; resolves when that is on disk. */
  async #accept(report: Report): Promise<boolean> {
    const execution = this.#executions.get(report.executionId);
    if (execution === undefined) return false;
    const { phase } = execution;
    if (phase.kind === "finished") return sameAttempt(phase.outcome, report);
    if (!("lease" in phase) || !isEpoch(report.epoch, phase.lease.epoch)) return false;
    if (phase.kind === "concluding") {
      await phase.done;
      return true;
    }
    // It may have run faster than its acceptance travelled.
    if (phase.kind === "assigning") this.#started(execution, phase.lease);
    if (report.ending?.kind === EndingKind.INFRASTRUCTURE) {
      // The farm failed, not the task: that is tried again on the farm's own budget.
      this.#loseLease(execution, phase.lease, report.ending.detail, EndingKind.INFRASTRUCTURE);
      return true;
    }
    const done = this.#conclude(execution, phase.lease, report);
    execution.phase = { kind: "concluding", lease: phase.lease, done };
    try {
      await done;
    } catch (error) {
      // The agent keeps the report and sends it again: nothing is lost but time.
      execution.phase = { kind: "held", lease: phase.lease };
      throw from(error, `keeping the result of ${report.executionId}`);
    }
    return true;
  }

  async #conclude(execution: Execution, lease: Lease, report: Report): Promise<void> {
    const { keep, attemptEnded, table } = this.#deps;
    await keep(execution.request, report);
    await attemptEnded(execution.request.id, lease.attempt);
    await table.finish(execution.request.id, report);
    this.#slots.free(execution, lease);
    this.#finished(execution, report);
    this.#place();
  }

  async #endWithoutReport(execution: Execution, kind: EndingKind, detail: string): Promise<void> {
    const outcome = outcomeWithoutReport(execution, kind, detail);
    execution.phase = { kind: "finished", outcome };
    await this.#deps.table.finish(execution.request.id, outcome);
    this.#finished(execution, outcome);
  }

  #finished(execution: Execution, outcome: Report): void {
    execution.phase = { kind: "finished", outcome };
    this.#tell(finishedUpdate(outcome));
  }

  /** What a former start of the coordinator left: leases stay in force until their agents have spoken. */
  #restore({ request, attempts, lease, outcome }: StoredExecution): void {
    const execution = newExecution(request, Promise.resolve());
    execution.attempts = attempts;
    this.#executions.set(request.id, execution);
    if (outcome !== undefined) execution.phase = { kind: "finished", outcome };
    else if (lease === undefined) this.#enqueue(execution);
    else {
      execution.phase = { kind: "held", lease };
      this.#slots.take(execution, lease);
    }
  }

  #tell(update: ExecutionUpdate): void {
    for (const listener of this.#listeners) listener(update);
  }

  #background(work: Promise<unknown>): void {
    work.catch(this.#deps.onError);
  }
}

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
  outcomeWithoutReport,
  presentUpdate,
  sameAttempt,
  type Waiter,
  waitDetail,
} from "./execution.ts";
import type { ExecutionTable, Lease } from "./execution-table.ts";
import { finishAll, isWorthSharing, merging, priorityOf, standingOf, waitingIds } from "./merging.ts";
import { nextPlacement, type Place } from "./placement.ts";
import type { ExecutionRequest, ExecutionUpdate, Scheduler, SchedulerStats } from "./scheduler.ts";
import { slots } from "./slots.ts";
import { waitCauses } from "./wait-causes.ts";
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

/** The scheduler of a farm: the only writer of leases. Its states are told in execution.ts, sharing in merging.ts. */
export class FarmScheduler implements Scheduler, Component {
  readonly name = "scheduler";
  readonly #deps: FarmSchedulerDeps;
  readonly #merging = merging();
  readonly #queue = waitingQueue();
  readonly #slots = slots();
  /** Agents that refused something: not asked again before their next heartbeat. */
  readonly #refusing = new Set<string>();
  readonly #causes = waitCauses();
  readonly #listeners = new Set<(update: ExecutionUpdate) => void>();
  readonly #ends: (() => void)[] = [];
  #epochs = 0;
  #placing = false;

  constructor(deps: FarmSchedulerDeps) {
    this.#deps = deps;
  }

  async start(): Promise<void> {
    for (const execution of this.#merging.restore(await this.#deps.table.load())) this.#resume(execution);
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
    const known = this.#merging.waiter(request.id);
    if (known !== undefined) {
      await known.stored;
      return known.isTold ? this.#tellPresent(known) : undefined;
    }
    if (this.#queue.size >= limits.queuedExecutions) {
      throw new MillraceError("resource_exhausted", `${this.#queue.size} executions are queued; try again later`);
    }
    const store = (joined: Execution) => this.#deps.table.insert(request, standingOf(joined));
    const waiter = this.#merging.join(request, store);
    const { execution, stored } = waiter;
    this.#requeue(execution);
    try {
      await stored;
    } catch (error) {
      this.#merging.forget(waiter);
      if (execution.waiters.size === 0 && execution.phase.kind !== "storing") {
        this.#abandon(execution, "the request could not be stored");
      } else this.#requeue(execution);
      throw from(error, `storing the execution ${request.id}`);
    }
    waiter.isTold = true;
    if (execution.phase.kind !== "storing" || waiter.outcome !== undefined) this.#tellPresent(waiter);
    else if (execution.cancelReason === undefined) this.#enqueue(execution);
    else await this.#endWithoutReport(execution, EndingKind.CANCELLED, execution.cancelReason);
  }

  cancel(id: string, reason: string): void {
    const waiter = this.#merging.waiter(id);
    if (waiter === undefined || waiter.outcome !== undefined) return;
    const { execution } = waiter;
    if (execution.waiters.size > 1) this.#background(this.#leave(waiter, reason));
    else this.#abandon(execution, reason);
  }

  /** Nobody wants it any more. */
  #abandon(execution: Execution, reason: string): void {
    execution.cancelReason = reason;
    this.#merging.close(execution);
    if (execution.phase.kind === "held") this.#sendCancel(execution);
    if (execution.phase.kind !== "queued") return;
    this.#queue.remove(execution.request.id);
    this.#background(this.#endWithoutReport(execution, EndingKind.CANCELLED, reason));
  }

  /** Others want the execution to go on: only this one ends. */
  async #leave(waiter: Waiter, reason: string): Promise<void> {
    const { execution, request } = waiter;
    this.#merging.leave(waiter);
    this.#requeue(execution);
    waiter.outcome = outcomeWithoutReport(execution, EndingKind.CANCELLED, reason);
    const { isTold } = waiter;
    await this.#deps.table.finish([request.id], waiter.outcome);
    if (isTold) this.#tellPresent(waiter);
  }

  async forget(id: string): Promise<void> {
    const waiter = this.#merging.waiter(id);
    if (waiter?.outcome === undefined) return;
    this.#merging.forget(waiter);
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
    const { id, fairGroup } = execution.request;
    const priority = priorityOf(execution);
    execution.phase = { kind: "queued", priority };
    this.#queue.add({ id, priority, fairGroup, requirement: execution.requirement });
    this.#causes.isNew(id);
    this.#place();
  }

  /** Those who wait for it have changed, and with them its priority. */
  #requeue(execution: Execution): void {
    if (execution.phase.kind !== "queued" || execution.phase.priority === priorityOf(execution)) return;
    this.#queue.remove(execution.request.id);
    this.#enqueue(execution);
  }

  /** Places what can be placed, once for all that changed in this turn of the loop. */
  #place(): void {
    if (this.#placing) return;
    this.#placing = true;
    queueMicrotask(() => {
      this.#placing = false;
      for (;;) {
        const next = nextPlacement(this.#queue, this.#places(), (group) => this.#slots.runningOf(group));
        const execution = next && this.#merging.execution(next.waiting.id);
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

  #explain(): void {
    for (const [id, cause] of this.#causes.news(this.#queue, this.#places())) {
      const execution = this.#merging.execution(id);
      if (execution?.phase.kind === "queued") this.#tellWait(execution, cause);
    }
  }

  #tellWait(execution: Execution, cause: WaitCause, detail = waitDetail(execution, cause)): void {
    if (execution.wait?.cause === cause) return;
    execution.wait = { cause, detail };
    this.#tellAll(execution);
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

  async #hand(execution: Execution, lease: Lease): Promise<AssignAnswer> {
    const { request, attempts } = execution;
    try {
      await this.#deps.table.lease(waitingIds(execution), attempts, lease);
    } catch (error) {
      this.#deps.onError(from(error, `storing the lease of ${request.id}`));
      return { kind: "refused", why: "the lease could not be stored" };
    }
    return await this.#deps.dispatcher.assign(request, lease);
  }

  #started(execution: Execution, lease: Lease): void {
    execution.phase = { kind: "held", lease };
    execution.wait = undefined;
    this.#tellAll(execution);
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
    this.#background(this.#deps.table.lease(waitingIds(execution), execution.attempts, undefined));
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
      const phase = this.#merging.execution(executionId)?.phase;
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
    const execution = this.#merging.execution(report.executionId);
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
    await finishAll(execution, (ids) => table.finish(ids, report));
    this.#slots.free(execution, lease);
    this.#finished(execution, report);
    this.#place();
  }

  async #endWithoutReport(execution: Execution, kind: EndingKind, detail: string): Promise<void> {
    const outcome = outcomeWithoutReport(execution, kind, detail);
    this.#merging.close(execution);
    execution.phase = { kind: "finished", outcome };
    await this.#deps.table.finish(waitingIds(execution), outcome);
    this.#finished(execution, outcome);
  }

  #finished(execution: Execution, outcome: Report): void {
    execution.phase = { kind: "finished", outcome };
    if (!isWorthSharing(outcome)) this.#merging.close(execution);
    for (const waiter of execution.waiters) waiter.outcome = outcome;
    this.#tellAll(execution);
  }

  /** What a former start of the coordinator left: leases stay in force until their agents have spoken. */
  #resume(execution: Execution): void {
    if (execution.phase.kind === "storing") this.#enqueue(execution);
    else if (execution.phase.kind === "held") this.#slots.take(execution, execution.phase.lease);
  }

  #tellAll({ waiters }: Execution): void {
    for (const waiter of waiters) if (waiter.isTold) this.#tellPresent(waiter);
  }

  #tellPresent(waiter: Waiter): void {
    const update = presentUpdate(waiter);
    if (update === undefined) return;
    for (const listener of this.#listeners) listener(update);
  }

  #background(work: Promise<unknown>): void {
    work.catch(this.#deps.onError);
  }
}

import { AgentState } from "../../../proto/gen/millrace/v1/agent_pb.ts";
import type { HeldExecution, Report } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { leaseTimes } from "../../../shared/lease-times.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import type { AgentChange } from "../agents/agent-registry.ts";
import { epochOf, isEpoch, serveReports } from "./dispatcher.ts";
import { type Durably, durably } from "./durably.ts";
import {
  type Execution,
  endedAttempts,
  endLogs,
  endOfLost,
  type FarmFailure,
  isPinned,
  isUnkeepable,
  type LostAttempt,
  move,
  outcomeWithoutReport,
  staysPut,
  type Waiter,
} from "./execution.ts";
import type { Lease } from "./execution-table.ts";
import type { FarmSchedulerDeps } from "./farm-scheduler-deps.ts";
import { isStray, type Parting, partings, sameAttempt, waitFor, wordOn } from "./fencing.ts";
import { handOut } from "./hand-out.ts";
import { finishAll, isWorthSharing, merging, priorityOf, standingOf, waitingIds } from "./merging.ts";
import { type Placing, placing } from "./placing.ts";
import type { QueueView } from "./queue-view.ts";
import type { ExecutionRequest, ExecutionUpdate, Scheduler, SchedulerStats } from "./scheduler.ts";
import { strays } from "./strays.ts";
import { submitters } from "./submitters.ts";

/** The scheduler of a farm: the only writer of leases. Its states are told in execution.ts, sharing in merging.ts. */
export class FarmScheduler implements Scheduler, Component {
  readonly name = "scheduler";
  readonly view: QueueView;
  readonly #deps: FarmSchedulerDeps;
  readonly #merging = merging();
  readonly #placing: Placing;
  readonly #durably: Durably;
  readonly #stopped = new AbortController();
  readonly #submitters = submitters();
  readonly #strays = strays();
  readonly #ends: (() => void)[] = [];
  #epochs = 0;

  constructor(deps: FarmSchedulerDeps) {
    this.#deps = deps;
    this.#placing = placing({
      ...{ ...deps, merging: this.#merging, signal: this.#stopped.signal },
      assign: (execution, agentId) => this.#background(this.#assign(execution, agentId)),
      tellWait: (execution, reason) => this.#submitters.tellWait(execution, reason),
    });
    this.view = this.#placing.view;
    this.#durably = durably({ ...deps, signal: this.#stopped.signal });
  }

  async start(): Promise<void> {
    for (const execution of this.#merging.restore(await this.#deps.table.load())) this.#resume(execution);
    const { agents, bus } = this.#deps;
    // Whose agent was removed just before the coordinator ended: nobody would ever call it lost.
    const { heldBy } = this.#placing.slots.stats();
    const present = agents.list();
    for (const record of present) this.#placing.places.seen(record);
    const known = new Set(present.map(({ info }) => info.id));
    for (const id of heldBy.keys()) if (!known.has(id)) this.#allGone(id, "removed");
    this.#ends.push(
      bus.watchConnection((up) => this.#placing.places.busChanged(up)),
      agents.subscribe((change) => this.#onAgent(change)),
      await serveReports(bus, (report) => this.#accept(report), this.#deps.onError),
    );
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    for (const end of this.#ends) end();
  }

  async submit(request: ExecutionRequest): Promise<void> {
    const known = this.#merging.waiter(request.id);
    if (known !== undefined) {
      await known.stored;
      return known.isTold ? this.#submitters.tell(known) : undefined;
    }
    if (this.#placing.waiting >= limits.queuedExecutions) {
      throw new MillraceError("resource_exhausted", `${this.#placing.waiting} executions are queued; try again later`);
    }
    const waiter = this.#merging.join(request, (kept, joined) => this.#deps.table.insert(kept, standingOf(joined)));
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
    waiter.stored = undefined;
    if (!execution.waiters.has(waiter)) return; // it left meanwhile, and is told so when that is on disk
    if (execution.phase.kind !== "storing" || waiter.outcome !== undefined) this.#submitters.tell(waiter);
    else if (execution.cancelReason === undefined) this.#enqueue(execution);
    else this.#endWithoutReport(execution, EndingKind.CANCELLED, execution.cancelReason);
  }

  cancel(id: string, reason: string, only?: "unbegun"): void {
    const waiter = this.#merging.waiter(id);
    if (waiter === undefined || waiter.outcome !== undefined) return;
    const { execution } = waiter;
    if (!execution.waiters.has(waiter)) return;
    const { kind } = execution.phase;
    if (only === "unbegun" && kind !== "storing" && kind !== "queued") return;
    if (execution.waiters.size > 1) this.#leave(waiter, reason);
    else this.#abandon(execution, reason);
  }

  /** Nobody wants it any more. */
  #abandon(execution: Execution, reason: string): void {
    execution.cancelReason = reason;
    this.#merging.close(execution);
    const { phase, wait } = execution;
    // Of what stays with an agent that is lost, the agent has ended its process by its own lease, or an operation's has not.
    if (phase.kind === "held" && !isPinned(execution) && wait?.cause === WaitCause.AGENT_LOST)
      this.#giveBack(execution, phase.lease, { why: wait.detail });
    else if (phase.kind === "held") this.#sendCancel(execution);
    if (phase.kind !== "queued") return;
    this.#placing.remove(execution);
    this.#endWithoutReport(execution, EndingKind.CANCELLED, reason);
  }

  /** Others want the execution to go on: only this one ends. */
  #leave(waiter: Waiter, reason: string): void {
    const { execution, request } = waiter;
    this.#merging.leave(waiter);
    this.#requeue(execution);
    const outcome = outcomeWithoutReport(execution, EndingKind.CANCELLED, reason);
    this.#durably(async () => {
      await this.#deps.table.finish([request.id], outcome);
      waiter.outcome = outcome;
      if (waiter.isTold) this.#submitters.tell(waiter);
    });
  }

  async forget(id: string): Promise<void> {
    const waiter = this.#merging.waiter(id);
    if (waiter?.outcome === undefined) return;
    await this.#deps.table.remove(id);
    this.#merging.forget(waiter);
  }

  subscribe(listener: (update: ExecutionUpdate) => void): () => void {
    return this.#submitters.subscribe(listener);
  }

  stats(): SchedulerStats {
    const [queued, concluded] = [this.#placing.waiting, this.#merging.concluded()];
    return { queued, concluded, strays: this.#strays.byAgent(), ...this.#placing.slots.stats() };
  }

  #enqueue(execution: Execution): void {
    const priority = priorityOf(execution);
    move(execution, { kind: "queued", priority });
    this.#placing.add(execution, priority);
  }

  /** Those who wait for it have changed, and with them its priority. */
  #requeue(execution: Execution): void {
    if (execution.phase.kind !== "queued" || execution.phase.priority === priorityOf(execution)) return;
    this.#placing.remove(execution);
    this.#enqueue(execution);
  }

  async #assign(execution: Execution, agentId: string): Promise<void> {
    execution.attempts += 1;
    const epoch = { term: this.#deps.term, number: ++this.#epochs };
    const lease: Lease = { agentId, epoch, attempt: execution.attempts };
    move(execution, { kind: "assigning", lease });
    this.#placing.slots.take(execution, lease);
    const answer = await handOut(execution, lease, this.#deps);
    if (execution.phase.kind !== "assigning" || execution.phase.lease !== lease) return;
    // Whether an agent that could not answer has it, or that did not answer a host operation, its next heartbeat says.
    if (answer.kind === "accepted" || answer.kind === "outage" || (answer.kind === "silence" && staysPut(execution)))
      return this.#started(execution, lease);
    if (answer.kind === "impossible") return this.#refuse(execution, lease, answer.why);
    this.#placing.places.refused(agentId, answer.kind === "refused");
    if (answer.kind === "refused") execution.attempts -= 1;
    else this.#strays.add(agentId, execution.request.id);
    const why = `${agentId} did not answer: ${answer.why}`;
    this.#giveBack(execution, lease, answer.kind === "refused" ? undefined : { why });
  }

  /** It asks for what nobody can be given: no agent has heard of it, and none will. */
  #refuse(execution: Execution, lease: Lease, why: string): void {
    this.#placing.slots.free(execution, lease);
    this.#endWithoutReport(execution, EndingKind.REFUSED, why);
    this.#placing.look();
  }

  #started(execution: Execution, lease: Lease): void {
    move(execution, { kind: "held", lease });
    execution.wait = undefined;
    this.#submitters.tellAll(execution);
    if (execution.cancelReason !== undefined) this.#sendCancel(execution);
  }

  /**
   * The attempt came to nothing: another one, unless the budget is used up or nobody wants it any more. `lost` says what
   * became of it; undefined when the agent never had it.
   */
  #giveBack(execution: Execution, lease: Lease, lost: LostAttempt | undefined): void {
    const { id } = execution.request;
    this.#placing.slots.free(execution, lease);
    if (lost !== undefined) this.#durably(() => this.#deps.attemptEnded(id, lease.attempt));
    const { attempts } = execution;
    this.#durably(async () => {
      // Tried again after a failure it must not take back the lease that came next.
      if ("lease" in execution.phase && execution.phase.lease !== lease) return;
      await this.#deps.table.lease(waitingIds(execution), attempts, undefined);
    });
    const end = endOfLost(execution, lost);
    if (execution.cancelReason !== undefined) {
      this.#endWithoutReport(execution, EndingKind.CANCELLED, execution.cancelReason);
    } else if (end !== undefined) this.#endWithoutReport(execution, end.kind, end.detail);
    else {
      this.#enqueue(execution);
      if (lost === undefined) return this.#placing.look();
      this.#submitters.tellWait(execution, {
        cause: WaitCause.AGENT_LOST,
        detail: `attempt ${lease.attempt}: ${lost.why}`,
      });
    }
    this.#placing.look();
  }

  #onAgent(change: AgentChange): void {
    const { id } = change.agent.info;
    if (change.kind === "joined" || change.kind === "changed") return this.#placing.places.seen(change.agent);
    if (change.kind === "heartbeat") {
      this.#placing.places.seen(change.agent);
      return this.#reconcile(id, change.held);
    }
    this.#placing.places.gone(id);
    this.#strays.gone(id);
    this.#allGone(id, change.kind);
  }

  /** The agent is not there any more, and what it holds must do without it or wait. */
  #allGone(agentId: string, how: Parting): void {
    const why = `${agentId} ${partings[how](this.#deps.lease ?? leaseTimes())}`;
    for (const execution of this.#placing.slots.heldOn(agentId)) {
      const { phase } = execution;
      if (phase.kind !== "assigning" && phase.kind !== "held") continue;
      const wait = waitFor(execution, how);
      if (wait !== undefined)
        this.#submitters.tellWait(execution, { cause: WaitCause.AGENT_LOST, detail: `${why}${wait}` });
      else if (isPinned(execution)) this.#giveUp(execution, phase.lease, why);
      else this.#giveBack(execution, phase.lease, { why });
    }
  }

  /** A person has said that the agent of a host operation will not come back: nobody else can tell how it ended. */
  #giveUp(execution: Execution, lease: Lease, why: string): void {
    this.#placing.slots.free(execution, lease);
    this.#durably(() => this.#deps.attemptEnded(execution.request.id, lease.attempt));
    this.#endWithoutReport(execution, EndingKind.AGENT_LOST, `${why}: what it has left on its host is not known`);
  }

  /** An agent says what it holds; what we think it holds and what it should not hold are both put right. */
  #reconcile(agentId: string, held: readonly HeldExecution[]): void {
    for (const [execution, lease, word] of wordOn(this.#placing.slots.heldOn(agentId), held)) {
      if (word === "not held") this.#giveBack(execution, lease, { why: `${agentId} does not hold it any more` });
      else if (word === "back") this.#started(execution, lease);
      else if (execution.cancelReason !== undefined) this.#sendCancel(execution);
    }
    const named: string[] = [];
    for (const { executionId, epoch } of held) {
      if (epoch === undefined || !isStray(this.#merging.execution(executionId), epoch)) continue;
      named.push(executionId);
      const why = "another attempt took its place";
      this.#background(this.#deps.dispatcher.cancel(agentId, executionId, epochOf(epoch), why));
    }
    this.#strays.named(agentId, named);
  }

  #sendCancel({ request, phase, cancelReason = "cancelled" }: Execution): void {
    if (!("lease" in phase)) return;
    const { agentId, epoch } = phase.lease;
    this.#background(this.#deps.dispatcher.cancel(agentId, request.id, epoch, cancelReason));
  }

  /** Whether this report is the one that counts; resolves when that is on disk. */
  async #accept(report: Report): Promise<boolean> {
    const execution = this.#merging.execution(report.executionId);
    if (execution === undefined) return false;
    const { phase } = execution;
    if (phase.kind === "finished") return sameAttempt(phase.outcome, report);
    if (!("lease" in phase) || !isEpoch(report.epoch, phase.lease.epoch)) return false;
    const { lease } = phase;
    if (report.agentId !== lease.agentId) return false;
    if (phase.kind === "concluding") {
      await phase.done;
      return true;
    }
    // It may have run faster than its acceptance travelled.
    if (phase.kind === "assigning") this.#started(execution, lease);
    if (report.ending?.kind === EndingKind.INFRASTRUCTURE && !isPinned(execution)) {
      this.#farmFailed(execution, lease, { ...report.ending, isUnbegun: !report.begun });
      return true;
    }
    const done = this.#conclude(execution, lease, { ...report, attempt: lease.attempt });
    move(execution, { kind: "concluding", lease, done });
    try {
      await done;
    } catch (error) {
      this.#notConcluded(execution, lease, from(error, `keeping the result of ${report.executionId}`));
    }
    return true;
  }

  /** The farm failed, not the task: that is tried again, on the farm's own budget and not at once on the same agent. */
  #farmFailed(execution: Execution, lease: Lease, ending: FarmFailure): void {
    this.#giveBack(execution, lease, this.#placing.places.failed(lease.agentId, ending, execution));
  }

  async #conclude(execution: Execution, lease: Lease, report: Report): Promise<void> {
    await this.#deps.keep(execution.request, report);
    await endLogs(execution, this.#deps.attemptEnded);
    await finishAll(execution, (ids) => this.#deps.table.finish(ids, report));
    this.#placing.places.worked(lease.agentId);
    this.#placing.slots.free(execution, lease);
    this.#finished(execution, report);
    this.#placing.look();
  }

  /**
   * What cannot be kept as it is (its blobs are gone, it is malformed) is a failed attempt. Anything else may pass: the
   * agent keeps the report and sends it again, so nothing is lost but time.
   */
  #notConcluded(execution: Execution, lease: Lease, error: MillraceError): void {
    move(execution, { kind: "held", lease });
    const agent = this.#deps.agents.list().find(({ info }) => info.id === lease.agentId);
    if (isUnkeepable(error)) this.#farmFailed(execution, lease, { detail: error.message });
    else if (agent === undefined || (agent.state === AgentState.LOST && !staysPut(execution))) {
      this.#giveBack(execution, lease, { why: `${lease.agentId} was lost before its result was kept` });
    } else throw error;
  }

  #endWithoutReport(execution: Execution, kind: EndingKind, detail: string): void {
    const outcome = outcomeWithoutReport(execution, kind, detail);
    this.#merging.close(execution);
    move(execution, { kind: "finished", outcome });
    this.#durably(async () => {
      await endLogs(execution, this.#deps.attemptEnded);
      await this.#deps.table.finish(waitingIds(execution), outcome);
      this.#finished(execution, outcome);
    });
  }

  /** Its end is on disk. */
  #finished(execution: Execution, outcome: Report): void {
    if (execution.phase.kind !== "finished") move(execution, { kind: "finished", outcome });
    if (!isWorthSharing(outcome)) this.#merging.close(execution);
    for (const waiter of execution.waiters) waiter.outcome = outcome;
    this.#submitters.tellAll(execution);
  }

  /** What a former start of the coordinator left: leases stay in force until their agents have spoken. */
  #resume(execution: Execution): void {
    const { phase } = execution;
    this.#durably(() => endLogs(execution, this.#deps.attemptEnded, endedAttempts(execution)));
    if (phase.kind === "storing") this.#enqueue(execution);
    else if (phase.kind === "held") this.#placing.slots.take(execution, phase.lease);
  }

  /** For what is said again anyhow when it is not heard. */
  #background(work: Promise<unknown>): void {
    work.catch(this.#deps.onError);
  }
}

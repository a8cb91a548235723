import { create } from "@bufbuild/protobuf";
import { type Report, ReportSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import {
  type Ending,
  EndingKind,
  EndingSchema,
  FailureScope,
  type WaitCause,
} from "../../../proto/gen/millrace/v1/event_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Lease } from "./execution-table.ts";
import { type Requirement, requirementOf } from "./requirement.ts";
import type { ExecutionRequest, ExecutionUpdate } from "./scheduler.ts";

/**
 * Where an execution stands:
 *
 *     storing → queued → assigning → held ⇄ concluding → finished
 *                  ↑__________|________|   (refused, no answer, agent lost)
 *
 * Each but concluding may also end at once: cancelled, or not worth another attempt.
 *
 * A host operation stays `held` when its agent does not answer or is lost, and goes back to `queued`, for the same agent,
 * only when that agent says that it does not hold it.
 *
 * The lease is on disk before the agent hears of it, so the epoch on disk is never older than one that an agent holds.
 * A report counts when it carries the epoch of the lease; every other report is fenced.
 */
export type Phase =
  | { readonly kind: "storing" }
  /** `priority` is that under which it stands in the queue. */
  | { readonly kind: "queued"; readonly priority: number }
  | { readonly kind: "assigning" | "held"; readonly lease: Lease }
  | { readonly kind: "concluding"; readonly lease: Lease; readonly done: Promise<void> }
  | { readonly kind: "finished"; readonly outcome: Report };

/** Where each may go on to: from queued to queued when its priority changes, from held to held when a lost agent is back. */
const moves: Readonly<Record<Phase["kind"], readonly Phase["kind"][]>> = {
  storing: ["queued", "finished"],
  queued: ["queued", "assigning", "finished"],
  assigning: ["held", "queued", "finished"],
  held: ["held", "concluding", "queued", "finished"],
  concluding: ["held", "finished"],
  finished: [],
};

/** @throws MillraceError internal when nothing leads from here to there: a defect */
export function move(execution: Execution, to: Phase): void {
  const from = execution.phase.kind;
  if (!moves[from].includes(to.kind)) {
    throw new MillraceError("internal", `${execution.request.id} cannot go from ${from} to ${to.kind}`);
  }
  execution.phase = to;
}

/**
 * An execution in memory: one process at a time on behalf of all who asked for the same Action. The scheduler alone
 * changes it.
 */
export interface Execution {
  /** Of the first who asked: its id names the execution, its log and its leases, also when that one has gone. */
  readonly request: ExecutionRequest;
  /** Its place in the order of arrival, before and after every attempt. */
  readonly order: number;
  /**
   * Of its Action; it avoids the agents on which it would fail again, by their own word. A restart forgets those, which
   * costs attempts at most.
   */
  requirement: Requirement;
  /** Those who want its end. When the last one goes, it is cancelled. */
  readonly waiters: Set<Waiter>;
  phase: Phase;
  attempts: number;
  /** Nobody wants it any more. */
  cancelReason: string | undefined;
  /** What listeners were told last. */
  wait: WaitReason | undefined;
}

/** Why an execution waits. */
export interface WaitReason {
  readonly cause: WaitCause;
  /** For a person. */
  readonly detail: string;
}

/** A request as it was submitted: one row on disk, whether it shares its execution or not. */
export interface Waiter {
  readonly request: ExecutionRequest;
  readonly execution: Execution;
  /** Resolves when it is on disk; gone when it is told: of 100,000 that wait, a promise each is 5 MB. */
  stored: Promise<void> | undefined;
  /** It is on disk and knows how things stand: from now on it is told what happens. */
  isTold: boolean;
  /** Its end; of the execution, or its own when it went before. */
  outcome: Report | undefined;
}

/** An execution that nobody waits for yet. `order` is of no two the same. @param asked the same request, before it was packed */
export function newExecution(request: ExecutionRequest, order: number, asked = request): Execution {
  return {
    request,
    order,
    requirement: requirementOf(asked.action.platform, asked.avoidAgents),
    waiters: new Set(),
    phase: { kind: "storing" },
    attempts: 0,
    cancelReason: undefined,
    wait: undefined,
  };
}

/** Whether no agent but the first may have it. */
export function isPinned({ request }: Execution): boolean {
  return request.hostOperation !== undefined;
}

/** Whether an agent that may have begun it keeps it, however long it is silent. */
export function staysPut(execution: Execution): boolean {
  return isPinned(execution) || execution.request.atMostOnce === true;
}

/** What to tell a submitter that has come back; undefined when there is nothing to tell yet. */
export function presentUpdate({ request: { id }, execution, outcome }: Waiter): ExecutionUpdate | undefined {
  if (outcome !== undefined) return finishedUpdate(id, outcome);
  const { phase, wait } = execution;
  const isHeld = phase.kind === "held" || phase.kind === "concluding";
  // What stays put is still held by an agent that was lost.
  if (isHeld && wait === undefined) return startedUpdate(id, execution, phase.lease);
  return wait === undefined ? undefined : { kind: "waiting", id, ...wait };
}

/** What an accepted lease means to the submitter `id`. */
function startedUpdate(id: string, { request }: Execution, { attempt, agentId }: Lease): ExecutionUpdate {
  return { kind: "started", id, execution: request.id, attempt, agent: agentId };
}

/** What a report means to the submitter `id`. */
function finishedUpdate(id: string, report: Report): Extract<ExecutionUpdate, { kind: "finished" }> {
  const { ending, result, usage, confinement, deployment, attempt, agentId } = report;
  const unsaid = create(EndingSchema, { kind: EndingKind.INFRASTRUCTURE, detail: "the report said no ending" });
  return {
    kind: "finished",
    id,
    outcome: {
      ending: ending ?? unsaid,
      ...(result === undefined ? {} : { result }),
      ...(usage === undefined ? {} : { usage }),
      ...(confinement === undefined ? {} : { confinement }),
      ...(deployment === undefined ? {} : { deployment }),
      attempt,
      agent: agentId,
    },
  };
}

/** The outcome of an execution that no report will end. */
export function outcomeWithoutReport({ request, attempts }: Execution, kind: EndingKind, detail: string): Report {
  return create(ReportSchema, { executionId: request.id, attempt: attempts, ending: { kind, detail } });
}

/** Why an attempt came to nothing, how the execution ends when it was the last one, and whether it must be. */
export interface LostAttempt {
  readonly why: string;
  readonly ending?: EndingKind;
  readonly isLast?: boolean;
  /** No process was started: even what may happen once only is placed again. */
  readonly isUnbegun?: boolean;
}

/** What an agent says of a failure that was not the task's. */
export interface FarmFailure {
  readonly detail: string;
  /** Where it would fail again; undefined when nobody knows. */
  readonly scope?: FailureScope;
  /** See LostAttempt. */
  readonly isUnbegun?: boolean;
}

/** The attempt that a failure of the farm ended. `isElsewhere`: another agent could have it. */
export function failedAttempt({ detail, scope, isUnbegun = false }: FarmFailure, isElsewhere: boolean): LostAttempt {
  const isLast = scope === FailureScope.FARM || (scope === FailureScope.AGENT && !isElsewhere);
  return { why: detail, ending: EndingKind.INFRASTRUCTURE, isLast, isUnbegun };
}

/** Why an execution at most once is not placed a second time, and what to do. */
const notAgain =
  "it is not idempotent and may have been begun, so it was not placed again: look at what it has done, then run it again";

/** How an execution ends that comes to nothing with this attempt; undefined when it is placed again. */
export function endOfLost(
  { attempts, request, waiters }: Execution,
  lost: LostAttempt | undefined,
): Ending | undefined {
  if (lost !== undefined && request.atMostOnce === true && lost.isUnbegun !== true) {
    const kind = lost.ending ?? EndingKind.AGENT_LOST;
    return create(EndingSchema, { kind, detail: `${lost.why}; ${notAgain}` });
  }
  if (lost === undefined || (attempts < attemptsMax(waiters) && lost.isLast !== true)) return undefined;
  const kind = lost.ending ?? EndingKind.AGENT_LOST;
  const detail = attempts === 1 ? lost.why : `${attempts} attempts came to nothing, the last one because ${lost.why}`;
  return create(EndingSchema, { kind, detail });
}

/** The most that any of those asks for who wait. */
function attemptsMax(waiters: Execution["waiters"]): number {
  const asked = [...waiters].map(({ request }) => request.attemptsMax ?? limits.infrastructureAttempts);
  return asked.length === 0 ? limits.infrastructureAttempts : Math.max(...asked);
}

/** Whether trying to keep the same report again must fail in the same way. */
export function isUnkeepable({ code }: MillraceError): boolean {
  return code === "failed_precondition" || code === "invalid_argument" || code === "not_found" || code === "data_loss";
}

/**
 * Ends the logs of the first `count` attempts; a start of the coordinator does it again, for their ends may not have
 * reached the disk. Before an execution ends on disk those of all have ended: afterwards nobody would remember them.
 */
export async function endLogs(
  { request, attempts }: Execution,
  end: (executionId: string, attempt: number) => Promise<void>,
  count = attempts,
): Promise<void> {
  for (let attempt = 1; attempt <= count; attempt += 1) await end(request.id, attempt);
}

/** How many attempts, from the first, of an execution that goes on will write no more. */
export function endedAttempts({ phase, attempts }: Execution): number {
  return phase.kind === "finished" ? 0 : phase.kind === "held" ? attempts - 1 : attempts;
}

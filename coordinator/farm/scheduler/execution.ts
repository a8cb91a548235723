import { create } from "@bufbuild/protobuf";
import { type Report, ReportSchema } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, EndingSchema, WaitCause } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { Lease } from "./execution-table.ts";
import { describeRequirement, type Requirement, requirementOf } from "./requirement.ts";
import type { ExecutionRequest, ExecutionUpdate } from "./scheduler.ts";

/**
 * Where an execution stands:
 *
 *     storing → queued → assigning → held → concluding → finished
 *                  ↑__________|________|   (refused, no answer, agent lost)
 *
 * The lease is on disk before the agent hears of it, so the epoch on disk is never older than one that an agent holds.
 * A report counts when it carries the epoch of the lease; every other report is fenced.
 */
export type Phase =
  | { readonly kind: "storing" }
  | { readonly kind: "queued" }
  | { readonly kind: "assigning" | "held"; readonly lease: Lease }
  | { readonly kind: "concluding"; readonly lease: Lease; readonly done: Promise<void> }
  | { readonly kind: "finished"; readonly outcome: Report };

/** An execution in memory. The scheduler alone changes it. */
export interface Execution {
  readonly request: ExecutionRequest;
  readonly requirement: Requirement;
  /** Resolves when it is on disk. */
  readonly stored: Promise<void>;
  phase: Phase;
  attempts: number;
  /** Somebody asked for its end. */
  cancelReason: string | undefined;
  /** What listeners were told last. */
  wait: { readonly cause: WaitCause; readonly detail: string } | undefined;
}

export function newExecution(request: ExecutionRequest, stored: Promise<void>): Execution {
  return {
    request,
    requirement: requirementOf(request.action.platform),
    stored,
    phase: { kind: "storing" },
    attempts: 0,
    cancelReason: undefined,
    wait: undefined,
  };
}

/** Why it waits, for a person. */
export function waitDetail({ requirement }: Execution, cause: WaitCause): string {
  const wanted = describeRequirement(requirement);
  if (cause === WaitCause.NO_AGENT_MATCHES) {
    return wanted === "" ? "no agent is connected" : `no connected agent offers ${wanted}`;
  }
  return wanted === "" ? "every agent is busy" : `every agent that offers ${wanted} is busy`;
}

/** What to tell a submitter that has come back; undefined when there is nothing to tell yet. */
export function presentUpdate({ request: { id }, phase, wait }: Execution): ExecutionUpdate | undefined {
  if (phase.kind === "finished") return finishedUpdate(phase.outcome);
  if (phase.kind === "held") return startedUpdate(id, phase.lease);
  return wait === undefined ? undefined : { kind: "waiting", id, ...wait };
}

/** What an accepted lease means to the submitter. */
export function startedUpdate(id: string, { attempt, agentId }: Lease): ExecutionUpdate {
  return { kind: "started", id, attempt, agent: agentId };
}

/** What a report means to the submitter. */
export function finishedUpdate({ executionId, ending, result, usage, attempt, agentId }: Report): ExecutionUpdate {
  const unsaid = create(EndingSchema, { kind: EndingKind.INFRASTRUCTURE, detail: "the report said no ending" });
  return {
    kind: "finished",
    id: executionId,
    outcome: {
      ending: ending ?? unsaid,
      ...(result === undefined ? {} : { result }),
      ...(usage === undefined ? {} : { usage }),
      attempt,
      agent: agentId,
    },
  };
}

/** The outcome of an execution that no report will end. */
export function outcomeWithoutReport({ request, attempts }: Execution, kind: EndingKind, detail: string): Report {
  return create(ReportSchema, { executionId: request.id, attempt: attempts, ending: { kind, detail } });
}

/** Whether two reports tell of the same attempt. */
export function sameAttempt(a: Report, b: Report): boolean {
  return a.epoch !== undefined && a.epoch.term === b.epoch?.term && a.epoch.number === b.epoch.number;
}

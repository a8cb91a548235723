import { hash } from "node:crypto";
import type { ConcurrencyGroup, PlannedTask } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { type Digest, digestKey } from "../../../shared/digest.ts";
import type { PlanContext } from "../../../shared/pipeline/plan-context.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";

/** All that a plan follows from. */
export interface PlanQuestion {
  /** Root of the source tree, and so also the text of the pipeline file; what TypeScript gives follows from that, too. */
  readonly source: Digest;
  /** As it was asked for. */
  readonly pipelinePath: string;
  readonly stages: readonly string[];
  readonly tasks: readonly string[];
  readonly offers: readonly ToolOffer[];
  /** What conditions and expressions ask, parameters among it. */
  readonly context: PlanContext;
}

/** A plan without problems. Shared by all runs that it is the plan of: nobody changes its tasks. */
export interface KeptPlan {
  /** The pipeline's name. */
  readonly pipeline: string;
  readonly pipelinePath: string;
  /** Values of its parameters, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly tasks: readonly PlannedTask[];
  readonly concurrency?: ConcurrencyGroup | undefined;
  readonly evaluated?: Digest | undefined;
  /** Blobs of the source and of the plan. When one of them is gone, the plan is no longer worth anything. */
  readonly restsOn: readonly Digest[];
}

/**
 * The last plans, so that an unchanged source is neither read nor planned again: for 1,000 tasks over 10,000 files that
 * was two thirds of what the coordinator did for a run that came wholly from the cache. In memory alone; a restart plans anew.
 */
export interface KeptPlans {
  find(question: string): KeptPlan | undefined;
  /** Forgets those that were unused for longest to make room; one that is too large by itself is not kept. */
  keep(question: string, plan: KeptPlan): void;
}

/** A short name of the question: equal ones ask the same. The order of selected names and of offers counts, which may cost a plan and never gives a wrong one. */
export function questionOf({ source, pipelinePath, stages, tasks, offers, context }: PlanQuestion): string {
  const { params, ...rest } = context;
  const values = Object.entries(params).sort(([a], [b]) => (a < b ? -1 : 1));
  return hash("sha256", JSON.stringify([digestKey(source), pipelinePath, stages, tasks, offers, rest, values]));
}

/** @param itemsMax of all plans together: blobs they rest on, tasks, and what tasks need. */
export function keptPlans(itemsMax: number): KeptPlans {
  /** Last used last. */
  const plans = new Map<string, KeptPlan>();
  let items = 0;

  function forget(question: string): void {
    const plan = plans.get(question);
    if (plan === undefined) return;
    items -= itemsOf(plan);
    plans.delete(question);
  }

  return {
    find(question) {
      const plan = plans.get(question);
      if (plan === undefined) return undefined;
      plans.delete(question);
      plans.set(question, plan);
      return plan;
    },
    keep(question, plan) {
      forget(question);
      const size = itemsOf(plan);
      if (size > itemsMax) return;
      for (const oldest of plans.keys()) {
        if (items + size <= itemsMax) break;
        forget(oldest);
      }
      plans.set(question, plan);
      items += size;
    },
  };
}

function itemsOf({ tasks, restsOn }: KeptPlan): number {
  let items = restsOn.length;
  for (const { needs, uses, outputs } of tasks) items += 1 + needs.length + uses.length + outputs.length;
  return items;
}

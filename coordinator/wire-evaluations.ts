import { randomUUID } from "node:crypto";
import { type FarmEvaluationsDeps, farmEvaluations } from "./delivery/evaluation/farm-evaluations.ts";
import { type SourceEvaluationsDeps, sourceEvaluations } from "./delivery/evaluation/source-evaluations.ts";
import { type AgentRegistry, isConnected, offerOf } from "./farm/agents/agent-registry.ts";
import type { FarmPools } from "./farm/pools/farm-pools.ts";

export interface EvaluationParts extends Omit<FarmEvaluationsDeps, "newId"> {
  readonly agents: Pick<AgentRegistry, "list">;
  readonly pools: Pick<FarmPools, "offers">;
  readonly projects: SourceEvaluationsDeps["projects"];
}

/** What planning asks of the farm: what its agents have, and pipelines in TypeScript; that is a part to be started. */
export function wireEvaluations({ agents, pools, projects, ...farm }: EvaluationParts) {
  const offers = () => [...agents.list().filter(isConnected).map(offerOf), ...pools.offers()];
  const evaluations = farmEvaluations({ ...farm, newId: randomUUID });
  const ofSources = sourceEvaluations({ cas: farm.cas, evaluations, projects, offers });
  return { planning: { offers, evaluations }, ofSources };
}

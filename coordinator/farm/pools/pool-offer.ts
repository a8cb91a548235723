import { toolProperty } from "../../../shared/pipeline/tool-property.ts";
import { importProperty } from "../../../shared/source/import-property.ts";
import type { PoolOffer } from "./demand.ts";
import type { StoredPool } from "./pool-table.ts";

/**
 * What the next agent of a pool will offer: what the last one did, and what the settings say. Before the first one has
 * joined nobody knows its tools; `known` are labels of the machine, when that is known without it.
 */
export function offerOfPool({ settings, learned }: StoredPool, known: Readonly<Record<string, string>>): PoolOffer {
  const { name, labels } = settings;
  const properties = new Map(Object.entries({ ...known, ...learned.offer?.labels, ...labels, pool: name }));
  for (const tool of learned.offer?.tools ?? []) properties.set(toolProperty(tool.name), tool.fingerprint);
  if (learned.offer?.tools.some((tool) => tool.name === "git") === true) properties.set(importProperty, "true");
  return { name, labels: Object.fromEntries(properties) };
}

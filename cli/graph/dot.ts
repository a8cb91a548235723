import type { Pipeline } from "../../shared/pipeline/pipeline.ts";
import { describeVariants, type Family, familiesOf, listed } from "./families.ts";

/**
 * A pipeline as a Graphviz digraph: `millrace graph --dot | dot -Tsvg`. What a matrix or shards made of one task is one
 * node; a gate is a diamond, what has a condition is dashed, and what runs at the end has a double border.
 */
export function toDot(pipeline: Pipeline): string {
  const families = familiesOf(pipeline);
  const lines = [
    `digraph "${pipeline.name}" {`,
    "  rankdir=LR;",
    "  compound=true;",
    '  node [shape=box, style="rounded"];',
  ];
  for (const stage of pipeline.stages) {
    lines.push(`  subgraph "cluster_${stage.name}" {`, `    label="${stage.name}";`);
    for (const family of families.get(stage.name) ?? []) lines.push(`    "${family.id}" [${attributesOf(family)}];`);
    lines.push("  }");
  }
  for (const stage of pipeline.stages) {
    const members = families.get(stage.name) ?? [];
    const [first] = members;
    for (const need of stage.needs) {
      // Graphviz joins nodes; cut off at the clusters' borders, the edge joins stages.
      const last = families.get(need)?.[0];
      if (first === undefined || last === undefined) continue;
      lines.push(`  "${last.id}" -> "${first.id}" [ltail="cluster_${need}", lhead="cluster_${stage.name}"];`);
    }
    for (const { id, uses, needs } of members) {
      for (const [maker, artifacts] of uses) lines.push(`  "${maker}" -> "${id}" [label="${listed(artifacts, 4)}"];`);
      for (const need of needs) lines.push(`  "${need}" -> "${id}";`);
    }
  }
  return `${[...lines, "}"].join("\n")}\n`;
}

function attributesOf(family: Family): string {
  const [task] = family.tasks;
  const conditions = [...new Set(family.tasks.flatMap((one) => one.conditions))].map((one) => `if ${one}`);
  const variants = describeVariants(family);
  const text = [family.name, ...(variants === undefined ? [] : [variants]), ...conditions].map(escaped).join("\\n");
  const attributes = [`label="${text}"`];
  if (task.gate !== undefined) attributes.push("shape=diamond");
  if (conditions.length > 0) attributes.push('style="rounded,dashed"');
  if (task.always) attributes.push("peripheries=2");
  return attributes.join(", ");
}

function escaped(text: string): string {
  return text.replace(/\s+/g, " ").replace(/["\\]/g, "\\$&");
}

import type { Pipeline } from "../../shared/pipeline/pipeline.ts";
import { taskId } from "../../shared/pipeline/select-tasks.ts";

/** A pipeline as a Graphviz digraph: `millrace graph --dot | dot -Tsvg`. Names need no escaping, as their letters are few. */
export function toDot(pipeline: Pipeline): string {
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const lines = [
    `digraph "${pipeline.name}" {`,
    "  rankdir=LR;",
    "  compound=true;",
    '  node [shape=box, style="rounded"];',
  ];
  for (const stage of pipeline.stages) {
    lines.push(`  subgraph "cluster_${stage.name}" {`, `    label="${stage.name}";`);
    for (const task of stage.tasks) lines.push(`    "${taskId(task)}" [label="${task.name}"];`);
    lines.push("  }");
  }
  for (const stage of pipeline.stages) {
    const [first] = stage.tasks;
    for (const need of stage.needs) {
      // Graphviz joins nodes; cut off at the clusters' borders, the edge joins stages.
      const last = stages.get(need)?.tasks[0];
      if (first === undefined || last === undefined) continue;
      const ends = `ltail="cluster_${need}", lhead="cluster_${stage.name}"`;
      lines.push(`  "${taskId(last)}" -> "${taskId(first)}" [${ends}];`);
    }
    for (const task of stage.tasks) {
      const used = new Set(task.use.map((use) => use.task));
      for (const use of task.use) lines.push(`  "${use.task}" -> "${taskId(task)}" [label="${use.artifact}"];`);
      for (const need of task.needs) if (!used.has(need)) lines.push(`  "${need}" -> "${taskId(task)}";`);
    }
  }
  return `${[...lines, "}"].join("\n")}\n`;
}

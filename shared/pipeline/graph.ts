import { orderByNeeds } from "./order.ts";
import type { Pipeline, Stage, Task } from "./pipeline.ts";
import { taskId } from "./select-tasks.ts";

/**
 * A drawing for the terminal: stages in the order in which they can start, and below each its tasks with what they wait
 * for, use and make.
 */
export function renderGraph(pipeline: Pipeline): string {
  const lines = [pipeline.name];
  for (const stage of startOrder(pipeline)) {
    const after = stage.needs.length === 0 ? "" : `  after ${stage.needs.join(", ")}`;
    lines.push("", `${stage.name}${after}`);
    const width = Math.max(...stage.tasks.map((task) => task.name.length));
    for (const [index, task] of stage.tasks.entries()) {
      const branch = index === stage.tasks.length - 1 ? "└─" : "├─";
      lines.push(`${branch} ${task.name.padEnd(width)}  ${describe(task)}`.trimEnd());
    }
  }
  return `${lines.join("\n")}\n`;
}

function startOrder(pipeline: Pipeline): readonly Stage[] {
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const { order } = orderByNeeds(stages.keys(), (name) => stages.get(name)?.needs ?? []);
  return order.flatMap((name) => stages.get(name) ?? []);
}

function describe(task: Task): string {
  const local = (id: string) => (id.startsWith(`${task.stage}/`) ? id.slice(task.stage.length + 1) : id);
  const used = new Set(task.use.map((use) => use.task));
  const parts = [
    ...task.use.map((use) => `← ${use.artifact} (${local(use.task)})`),
    ...task.needs.filter((need) => !used.has(need)).map((need) => `after ${local(need)}`),
    ...task.outputs.map((output) => `→ ${output.artifact}`),
  ];
  return parts.join("  ");
}

/** The same as a Graphviz digraph: `millrace graph --dot | dot -Tsvg`. Names need no escaping, as their letters are few. */
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

import { orderByNeeds } from "../../shared/pipeline/order.ts";
import type { Pipeline, Stage, Task } from "../../shared/pipeline/pipeline.ts";
import { taskId } from "../../shared/pipeline/select-tasks.ts";
import type { Colors } from "../output/console.ts";

/** A pipeline as nodes (`stage/task`) and edges (first this, then that), for programs. */
export function pipelineGraph(pipeline: Pipeline) {
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const edges: { from: string; to: string; artifact?: string }[] = [];
  for (const stage of pipeline.stages) {
    for (const task of stage.tasks) {
      const to = taskId(task);
      for (const use of task.use) edges.push({ from: use.task, to, artifact: use.artifact });
      const used = new Set(task.use.map((use) => use.task));
      for (const need of task.needs) if (!used.has(need)) edges.push({ from: need, to });
      const before = stage.needs.flatMap((name) => stages.get(name)?.tasks ?? []).map(taskId);
      for (const need of before) if (!used.has(need)) edges.push({ from: need, to });
    }
  }
  const nodes = pipeline.stages.flatMap((stage) =>
    stage.tasks.map((task) => ({
      id: taskId(task),
      stage: stage.name,
      task: task.name,
      artifacts: task.outputs.map((output) => output.artifact),
    })),
  );
  return { pipeline: pipeline.name, nodes, edges };
}

/** A pipeline for a person: stages in the order in which they can start, each with its tasks below it. */
export function drawPipeline(pipeline: Pipeline, colors: Colors): string {
  const lines = [colors.bold(pipeline.name)];
  for (const stage of startOrder(pipeline)) {
    const after = stage.needs.length === 0 ? "" : colors.dim(`  after ${stage.needs.join(", ")}`);
    lines.push("", `${colors.bold(colors.cyan(stage.name))}${after}`);
    const width = Math.max(...stage.tasks.map(({ name }) => name.length));
    for (const [index, task] of stage.tasks.entries()) {
      const branch = index === stage.tasks.length - 1 ? "└─" : "├─";
      lines.push(`${branch} ${task.name.padEnd(width)}${describeEdges(task, colors)}`.trimEnd());
    }
  }
  return `${lines.join("\n")}\n`;
}

function describeEdges(task: Task, colors: Colors): string {
  const parts: string[] = [];
  if (task.gate !== undefined) {
    const { title, approvers } = task.gate;
    parts.push(`◇ ${title}${approvers.length === 0 ? "" : `, decided by ${approvers.join(" or ")}`}`);
  }
  const used = new Set(task.use.map((use) => use.task));
  const needs = task.needs.filter((need) => !used.has(need));
  if (needs.length > 0) parts.push(`after ${needs.join(", ")}`);
  for (const use of task.use) parts.push(`◀ ${use.artifact} of ${use.task}`);
  for (const output of task.outputs) parts.push(`▶ ${output.artifact}`);
  return parts.length === 0 ? "" : `  ${colors.dim(parts.join("  "))}`;
}

/** Each stage after those that it needs, otherwise as in the file. */
function startOrder(pipeline: Pipeline): Stage[] {
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const { order } = orderByNeeds(stages.keys(), (name) => stages.get(name)?.needs ?? []);
  return order.flatMap((name) => stages.get(name) ?? []);
}

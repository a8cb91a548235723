import { orderByNeeds } from "../../shared/pipeline/order.ts";
import type { Pipeline, Stage } from "../../shared/pipeline/pipeline.ts";
import { taskId } from "../../shared/pipeline/select-tasks.ts";
import type { Colors } from "../output/console.ts";
import { describeVariants, type Family, familiesOf, listed } from "./families.ts";

/** A pipeline as nodes (`stage/task`) and edges (first this, then that), for programs. */
export function pipelineGraph(pipeline: Pipeline) {
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const edges: { from: string; to: string; artifact?: string }[] = [];
  for (const stage of pipeline.stages) {
    const before = stage.needs.flatMap((name) => stages.get(name)?.tasks ?? []).map(taskId);
    for (const task of stage.tasks) {
      const to = taskId(task);
      for (const use of task.use) edges.push({ from: use.task, to, artifact: use.artifact });
      const used = new Set(task.use.map((use) => use.task));
      for (const need of task.needs) if (!used.has(need)) edges.push({ from: need, to });
      for (const need of before) if (!used.has(need)) edges.push({ from: need, to });
    }
  }
  const nodes = pipeline.stages.flatMap((stage) =>
    stage.tasks.map((task) => ({
      id: taskId(task),
      stage: stage.name,
      task: task.name,
      artifacts: task.outputs.map((output) => output.artifact),
      ...(task.madeFrom === undefined ? {} : { madeFrom: task.madeFrom, variant: task.variant }),
      ...(task.conditions.length === 0 ? {} : { conditions: task.conditions }),
      ...(task.conditionUnmet === undefined ? {} : { unmet: task.conditionUnmet }),
      ...(task.always ? { always: true } : {}),
      ...(task.gate === undefined ? {} : { gate: task.gate.title }),
      ...(task.services.length === 0 ? {} : { services: task.services.map(({ name }) => name) }),
    })),
  );
  return { pipeline: pipeline.name, nodes, edges };
}

/**
 * A pipeline for a person: stages in the order in which they can start, each with its tasks below it. What a matrix or
 * shards made of one task is one line.
 */
export function drawPipeline(pipeline: Pipeline, colors: Colors): string {
  const families = familiesOf(pipeline);
  const lines = [colors.bold(pipeline.name)];
  for (const stage of startOrder(pipeline)) {
    lines.push("", `${colors.bold(colors.cyan(stage.name))}${colors.dim(describeStage(stage))}`);
    const members = families.get(stage.name) ?? [];
    const width = Math.max(...members.map(({ name }) => name.length));
    for (const [index, family] of members.entries()) {
      const branch = index === members.length - 1 ? "└─" : "├─";
      const parts = describeFamily(family, stage);
      const described = parts.length === 0 ? "" : `  ${colors.dim(parts.join("  "))}`;
      lines.push(`${branch} ${family.name.padEnd(width)}${described}`.trimEnd());
    }
  }
  return `${lines.join("\n")}\n`;
}

/** Of which all tasks wait for the end of everything else. */
function isFinal(stage: Stage): boolean {
  return stage.tasks.every((task) => task.always);
}

function describeStage(stage: Stage): string {
  if (isFinal(stage)) return "  at the end, however the run went";
  return stage.needs.length === 0 ? "" : `  after ${listed(stage.needs, 8)}`;
}

function describeFamily(family: Family, stage: Stage): string[] {
  const [task] = family.tasks;
  const variants = describeVariants(family);
  const parts = variants === undefined ? [] : [variants];
  if (task.gate !== undefined) {
    const { title, approvers, approvals } = task.gate;
    const by = approvers.length === 0 ? "" : `, decided by ${approvers.join(" or ")}`;
    parts.push(`◇ ${title}${by}${approvals > 1 ? `, ${approvals} of them` : ""}`);
  }
  const conditions = new Set(family.tasks.flatMap((one) => one.conditions));
  if (conditions.size > 0) parts.push(`if ${[...conditions].map((one) => one.replace(/\s+/g, " ")).join(" and ")}`);
  if (task.always && !isFinal(stage)) parts.push("at the end of the stage");
  // What runs at the end needs all that came before.
  const needs = task.always && !isFinal(stage) ? [] : family.needs;
  if (needs.length > 0) parts.push(`after ${listed(needs, 8)}`);
  for (const [maker, artifacts] of family.uses) parts.push(`◀ ${listed(artifacts, 4)} of ${maker}`);
  const outputs = family.tasks.flatMap((one) => one.outputs.map(({ artifact }) => artifact));
  if (family.tasks.length === 1) parts.push(...outputs.map((artifact) => `▶ ${artifact}`));
  else if (outputs.length > 0) parts.push(`▶ ${listed(outputs, 4)}`);
  if (task.services.length > 0) parts.push(`beside ${task.services.map(({ name }) => name).join(", ")}`);
  if (task.generates !== undefined) parts.push("adds tasks");
  if (task.allowFailure) parts.push("may fail");
  return parts;
}

/** Each stage after those that it needs, otherwise as in the file. */
function startOrder(pipeline: Pipeline): Stage[] {
  const stages = new Map(pipeline.stages.map((stage) => [stage.name, stage]));
  const { order } = orderByNeeds(stages.keys(), (name) => stages.get(name)?.needs ?? []);
  return order.flatMap((name) => stages.get(name) ?? []);
}

import type { Gate, Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import type { Colors } from "./console.ts";
import { formatAgo, formatDuration } from "./format.ts";
import { timeOf } from "./labels.ts";
import { decisionLabel } from "./run-json.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

export interface DescribeGateOptions {
  readonly run: Pick<Run, "name" | "source">;
  readonly task: Pick<Task, "stage">;
  readonly gate: Gate;
  readonly colors: Colors;
  readonly nowMs: number;
}

/** What a person needs to decide at a gate: the question, what to look at, and the bytes that the answer is about. */
export function describeGate({ run, task, gate, colors, nowMs }: DescribeGateOptions): string {
  const { planned, binding, bound, decided } = gate;
  const lines = [`${colors.bold(`gate ${task.stage}`)}  ${safeText(planned?.title ?? "")}`];
  for (const item of planned?.checklist ?? []) lines.push(`  [ ] ${safeText(item)}`);
  const approvers = planned?.approvers ?? [];
  lines.push(`  may decide: ${approvers.length === 0 ? "everybody who may submit runs" : approvers.join(", ")}`);
  if (binding === undefined) return `${lines.join("\n")}\n  not open yet\n`;
  const rows = [
    ["source", run.source?.hash ?? ""],
    ...(bound?.artifacts ?? []).map((it) => [`${it.name} of ${it.task}`, it.digest?.hash ?? ""]),
  ];
  const binds = table(["BINDS", "DIGEST"], rows).trimEnd().replaceAll(/^/gm, "  ");
  lines.push(binds, `  binding ${binding.hash}`);
  lines.push(`  ${decided === undefined ? remaining(gate, { run, task, nowMs }) : colors.bold(decision(gate, nowMs))}`);
  return `${lines.join("\n")}\n`;
}

function remaining(
  { deadline }: Gate,
  { run, task, nowMs }: Pick<DescribeGateOptions, "run" | "task" | "nowMs">,
): string {
  const leftMs = Math.max(0, (timeOf(deadline) ?? nowMs) - nowMs);
  return `open for ${formatDuration(leftMs)} more: millrace approve ${run.name} ${task.stage}`;
}

function decision({ decided, decidedBy, decideTime }: Gate, nowMs: number): string {
  if (decided === undefined) return "";
  const who = decided.timedOut ? "by its time-out" : `by ${decidedBy}`;
  const comment = decided.comment === "" ? "" : `: ${safeText(decided.comment)}`;
  return `${decisionLabel(decided.decision)} ${who}, ${formatAgo(timeOf(decideTime) ?? nowMs, nowMs)}${comment}`;
}

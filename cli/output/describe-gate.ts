import { type GateField, GateFieldKind } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Gate, GateVote, Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import type { Colors } from "./console.ts";
import { formatAgo, formatDuration } from "./format.ts";
import { timeOf } from "./labels.ts";
import { decisionLabel } from "./run-json.ts";
import { indentedText, safeText } from "./safe-text.ts";
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
  for (const [index, item] of (planned?.checklist ?? []).entries()) {
    const by = tickedBy(gate, index, nowMs);
    lines.push(`  [${by === undefined ? " " : "x"}] ${index + 1} ${safeText(item)}${by ?? ""}`);
  }
  for (const field of planned?.fields ?? []) lines.push(`  field ${field.name}: ${describeField(field)}`);
  const approvers = planned?.approvers ?? [];
  const who = approvers.length === 0 ? "developers, approvers and admins" : approvers.join(", ");
  const count = planned === undefined || planned.approvals <= 1 ? "" : `${planned.approvals} of `;
  lines.push(
    `  may decide: ${count}${who}${planned?.authorMayApprove === false ? ", but not who asked for the run" : ""}`,
  );
  if (binding === undefined) return `${lines.join("\n")}\n  not open yet\n`;
  const rows = [
    ["source", run.source?.hash ?? ""],
    ...(bound?.artifacts ?? []).map((it) => [`${it.name} of ${it.task}`, it.digest?.hash ?? ""]),
  ];
  const binds = table(["BINDS", "DIGEST"], rows).trimEnd().replaceAll(/^/gm, "  ");
  lines.push(binds, `  binding ${binding.hash}`);
  for (const { name, principal } of gate.evidence) lines.push(`  evidence ${safeText(name)} by ${principal}`);
  for (const vote of gate.votes) lines.push(`  ${describeVote(vote, nowMs)}`);
  for (const missing of gate.missing) lines.push(`  it takes ${safeText(missing)}`);
  if (gate.supersededBy !== "") lines.push(`  superseded: ${gate.supersededBy} was approved at this stage`);
  lines.push(`  ${decided === undefined ? remaining(gate, { run, task, nowMs }) : colors.bold(decision(gate, nowMs))}`);
  return `${lines.join("\n")}\n`;
}

function describeField({ title, kind, options, required }: GateField): string {
  const kinds = new Map<GateFieldKind, string>([
    [GateFieldKind.NUMBER, " (a number)"],
    [GateFieldKind.BOOLEAN, " (true, false)"],
    [GateFieldKind.CHOICE, ` (${options.join(", ")})`],
  ]);
  return safeText(`${title}${kinds.get(kind) ?? ""}${required ? ", required" : ""}`);
}

/** Who ticked an item, from 0, and when; undefined when nobody has. */
function tickedBy({ votes }: Gate, item: number, nowMs: number): string | undefined {
  const ticks = votes.filter(({ checked }) => checked.includes(item));
  if (ticks.length === 0) return undefined;
  return `  by ${ticks.map(({ principal, time }) => `${principal}, ${formatAgo(timeOf(time) ?? nowMs, nowMs)}`).join("; ")}`;
}

/** Who approved, and with which words. */
function describeVote({ principal, time, comment, fields }: GateVote, nowMs: number): string {
  const said = comment === "" ? "" : `: ${comment}`;
  const filled = Object.entries(fields).map(([name, value]) => `, ${name}=${value}`);
  return indentedText(
    `approved by ${principal}, ${formatAgo(timeOf(time) ?? nowMs, nowMs)}${said}${filled.join("")}`,
    4,
  );
}

function remaining(
  { deadline, supersededBy }: Gate,
  { run, task, nowMs }: Pick<DescribeGateOptions, "run" | "task" | "nowMs">,
): string {
  const leftMs = Math.max(0, (timeOf(deadline) ?? nowMs) - nowMs);
  const word = supersededBy === "" ? "approve" : "reject";
  return `open for ${formatDuration(leftMs)} more: millrace ${word} ${run.name} ${task.stage}`;
}

function decision({ decided, decidedBy, decideTime }: Gate, nowMs: number): string {
  if (decided === undefined) return "";
  const who = decided.timedOut ? "by its time-out" : `by ${decidedBy}`;
  const comment = decided.comment === "" ? "" : `: ${indentedText(decided.comment, 4)}`;
  return `decided: ${decisionLabel(decided.decision)} ${who}, ${formatAgo(timeOf(decideTime) ?? nowMs, nowMs)}${comment}`;
}

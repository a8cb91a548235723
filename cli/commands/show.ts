import { Command } from "commander";
import { TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import { formatBytes } from "../../shared/format-bytes.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { fetchRun } from "../fetch-run.ts";
import { type Colors, type Console, processConsole } from "../output/console.ts";
import { describeGate } from "../output/describe-gate.ts";
import { describeGit } from "../output/describe-git.ts";
import { formatAgo, formatDuration } from "../output/format.ts";
import {
  confinementLabels,
  endingLabel,
  millisOf,
  paintStatus,
  taskStatusLabel,
  timeOf,
  waitCauseLabel,
} from "../output/labels.ts";
import { runDetailJson, runSummaryJson } from "../output/run-json.ts";
import { allowedFailures, formatTaskDuration } from "../output/run-summary.ts";
import { indentedText, remarked, safeText } from "../output/safe-text.ts";
import { table } from "../output/table.ts";
import { parseRunName } from "../run-name.ts";

interface ShowOptions extends ConnectionOptions {
  readonly json?: boolean;
}

/** `millrace show`. */
export function showCommand(): Command {
  return withConnectionOptions(new Command("show"))
    .description("Show one run: its tasks, why they wait, how they ended, and what they made.")
    .argument("<run>", "the run, as 12 or run_12")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace show 12")
    .action(showRun);
}

async function showRun(name: string, options: ShowOptions): Promise<void> {
  const console = processConsole();
  const wanted = parseRunName(name);
  const run = await withConnection(options, (connection) => fetchRun(connection, wanted));
  if (options.json) return console.writeJson(runDetailJson(run));
  await console.write(describeRun(console, run, Date.now()));
}

function describeRun(console: Console, run: Run, nowMs: number): string {
  const { colors } = console;
  const { status, durationMs } = runSummaryJson(run);
  const createdMs = timeOf(run.createTime) ?? nowMs;
  const took = durationMs === undefined ? "" : ` in ${formatDuration(durationMs)}`;
  const head =
    `${colors.bold(run.name)}  ${run.pipeline}  ${paintStatus(colors, status)}${allowedFailures(run)}${took}\n` +
    colors.dim(`by ${run.principal}, ${formatAgo(createdMs, nowMs)}, source ${run.source?.hash ?? "unknown"}\n`) +
    paramsLine(run, colors) +
    pauseLine(run, colors, nowMs);
  const rows = run.tasks.map((task) => [
    `${task.stage}/${task.name}`,
    paintStatus(colors, taskStatusLabel(task.status)),
    task.cached ? "cached" : "",
    formatTaskDuration(task),
    ...costOf(task),
    task.agent,
    confinementOf(task),
    remarkOn(task, nowMs),
  ]);
  const tasks = table(["TASK", "STATUS", "CACHED", "DURATION", "CPU", "MEMORY", "AGENT", "SANDBOX", ""], rows);
  const gates = run.tasks.flatMap((task) =>
    task.gate === undefined ? [] : [`\n${describeGate({ run, task, gate: task.gate, colors, nowMs })}`],
  );
  const commits = run.git === undefined ? "" : `\n${describeGit(run.git, colors, nowMs)}`;
  const artifacts = run.tasks.flatMap((task) => task.artifacts);
  const made = artifacts.map((it) => [it.name, it.task, it.path, formatBytes(Number(it.sizeBytes))]);
  const artifactTable = made.length === 0 ? "" : `\n${table(["ARTIFACT", "TASK", "PATH", "SIZE"], made)}`;
  return `${head}${commits}\n${tasks}${triesTable(run)}${artifactTable}${warningLines(run, colors)}${gates.join("")}${commentLines(run, colors, nowMs)}`;
}

/** What the pipeline was given, so that a person can tell two runs of one commit apart. */
function paramsLine({ params }: Run, colors: Colors): string {
  const given = Object.entries(params).sort(([a], [b]) => (a < b ? -1 : 1));
  if (given.length === 0) return "";
  return colors.dim(`with ${given.map(([name, value]) => `${name}=${wordOf(value)}`).join(", ")}\n`);
}

/** As it is when that cannot be mistaken for anything else, in quotes otherwise. */
function wordOf(value: string): string {
  return /^[\w./:@%+~-]+$/.test(value) ? value : safeText(JSON.stringify(value));
}

function pauseLine({ name, pause }: Run, colors: Colors, nowMs: number): string {
  if (pause === undefined) return "";
  const since = formatAgo(timeOf(pause.time) ?? nowMs, nowMs);
  const why = pause.reason === "" ? "" : `: ${indentedText(pause.reason)}`;
  return colors.yellow(`paused by ${pause.principal}, ${since}${why}; it goes on with \`millrace resume ${name}\`\n`);
}

/** What its tasks' logs say as well, where nobody looks who comes for the artifacts. */
function warningLines({ tasks }: Run, colors: Colors): string {
  const said = tasks.flatMap(({ stage, name, warnings }) =>
    warnings.map((text) => `${colors.yellow("warning:")} ${stage}/${name}: ${indentedText(text)}\n`),
  );
  return said.length === 0 ? "" : `\n${said.join("")}`;
}

/** The tries before the present ones. */
function triesTable({ name, tasks }: Run): string {
  const rows = tasks.flatMap(({ stage, name: task, tries }) =>
    tries.map((it) => {
      const log = it.executionId === "" ? "" : `millrace logs ${name} ${stage}/${task} --try ${it.try}`;
      const status = taskStatusLabel(it.status);
      return [`${stage}/${task}`, String(it.try), status, it.agent, safeText(endingLabel(it.ending)), log];
    }),
  );
  return rows.length === 0 ? "" : `\n${table(["TASK BEFORE", "TRY", "STATUS", "AGENT", "", "LOG"], rows)}`;
}

function commentLines({ comments }: Run, colors: Colors, nowMs: number): string {
  const said = comments.map(({ task, text, principal, time }) => {
    const about = task === "" ? "" : ` on ${task}`;
    return `\n${colors.dim(`${principal}${about}, ${formatAgo(timeOf(time) ?? nowMs, nowMs)}:`)} ${indentedText(text)}\n`;
  });
  return said.join("");
}

/** CPU time and peak memory; empty where they were not measured. */
function costOf({ usage }: Task): [string, string] {
  const cpuMs = millisOf(usage?.cpu);
  const peakBytes = Number(usage?.peakMemoryBytes ?? 0);
  return [cpuMs === undefined ? "" : formatDuration(cpuMs), peakBytes === 0 ? "" : formatBytes(peakBytes)];
}

/** The sandbox, and a word where the kernel does not promise that everything ended. */
function confinementOf(task: Task): string {
  const labels = confinementLabels(task.confinement);
  if (labels === undefined) return "";
  return labels.containment === "full" ? labels.sandbox : `${labels.sandbox} (${labels.containment})`;
}

/** What a person wants to know beside the status: why it waits, how it ended, why it was left out. */
function remarkOn(task: Task, nowMs: number): string {
  if (task.wait !== undefined) {
    const sinceMs = timeOf(task.wait.since);
    const since = sinceMs === undefined ? "" : `, since ${formatDuration(Math.max(0, nowMs - sinceMs))}`;
    const detail = task.wait.detail === "" ? "" : ` (${safeText(task.wait.detail)})`;
    return `${waitCauseLabel(task.wait.cause)}${detail}${since}`;
  }
  if (task.skipReason !== "") return safeText(task.skipReason);
  const allowed = task.status === TaskStatus.FAILED && task.allowFailure ? ", which is allowed" : "";
  const tries = task.try > 1 ? ` (try ${task.try})` : "";
  const again = task.attempts > 1 ? ` (attempt ${task.attempts})` : "";
  return remarked(safeText(endingLabel(task.ending)), `${allowed}${tries}${again}`).trim();
}

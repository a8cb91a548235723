import { TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Run, Task } from "../../proto/gen/millrace/v1/run_pb.ts";
import type { Colors } from "./console.ts";
import { counted, formatDuration } from "./format.ts";
import { endingLabel, millisOf, paintStatus, taskStatusLabel } from "./labels.ts";
import { runSummaryJson } from "./run-json.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** Rows of a summary; of a larger run only what did not succeed is listed. */
const summaryRowsMax = 60;

/** What a run came to: a row for each task, and how much the cache saved. */
export function runSummary(run: Run, colors: Colors): string {
  const succeeded = run.tasks.filter((task) => task.status === TaskStatus.SUCCEEDED);
  const listed = run.tasks.length <= summaryRowsMax ? run.tasks : run.tasks.filter((task) => !succeeded.includes(task));
  const rows = listed
    .slice(0, summaryRowsMax)
    .map((task) => [
      `${task.stage}/${task.name}`,
      paintStatus(colors, taskStatusLabel(task.status)),
      task.cached ? "cached" : "",
      formatTaskDuration(task),
      task.agent,
      safeText(task.skipReason === "" ? endingLabel(task.ending) : task.skipReason),
    ]);
  const left = run.tasks.length - rows.length;
  const more = left === 0 ? "" : colors.dim(`and ${counted(left, "more task")}; all: millrace show ${run.name}\n`);
  const heading = ["TASK", "STATUS", "CACHED", "DURATION", "AGENT", ""];
  return `\n${rows.length === 0 ? "" : table(heading, rows)}${more}${outcome(run, colors)}\n`;
}

function outcome(run: Run, colors: Colors): string {
  const { status, durationMs } = runSummaryJson(run);
  const took = durationMs === undefined ? "" : ` in ${formatDuration(durationMs)}`;
  const cached = run.tasks.filter((task) => task.cached);
  const savedMs = cached.reduce((sum, task) => sum + (millisOf(task.duration) ?? 0), 0);
  const saved = savedMs === 0 ? "" : `, which saved ${formatDuration(savedMs)}`;
  const fromCache =
    cached.length === 0 ? "" : `; ${cached.length} of ${counted(run.tasks.length, "task")} from the cache${saved}`;
  return `${colors.bold(run.name)} ${paintStatus(colors, status)}${allowedFailures(run)}${took}${fromCache}`;
}

/** `, with 2 allowed failures`; empty without. */
export function allowedFailures({ allowedFailures: count }: Run): string {
  return count === 0 ? "" : `, with ${counted(count, "allowed failure")}`;
}

/** How long the process of a task ran; empty for a task that had none. */
export function formatTaskDuration(task: Task): string {
  const durationMs = millisOf(task.duration);
  return durationMs === undefined || task.status === TaskStatus.SKIPPED ? "" : formatDuration(durationMs);
}

import { Command, InvalidArgumentError } from "commander";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { formatAgo, formatDuration } from "../output/format.ts";
import { paintStatus, timeOf } from "../output/labels.ts";
import { runSummaryJson } from "../output/run-json.ts";
import { table } from "../output/table.ts";

interface RunsOptions extends ConnectionOptions {
  readonly limit: number;
  readonly json?: boolean;
}

/** `millrace runs`. */
export function runsCommand(): Command {
  return withConnectionOptions(new Command("runs"))
    .description("List runs, newest first.")
    .option("-n, --limit <count>", "how many, from 1 to 1000", parseLimit, 20)
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace runs -n 5")
    .action(listRuns);
}

async function listRuns(options: RunsOptions): Promise<void> {
  const console = processConsole();
  const { runs, nextPageToken } = await withConnection(options, (connection) =>
    connection.runs.listRuns({ pageSize: options.limit }),
  );
  const summaries = runs.map((run) => runSummaryJson(run));
  if (options.json) return console.writeJson({ runs: summaries, more: nextPageToken !== "" });
  if (runs.length === 0) return console.note("no runs yet: start one with `millrace run`");
  const nowMs = Date.now();
  const rows = runs.map((run, index) => {
    const { status = "", durationMs } = summaries[index] ?? {};
    const createdMs = timeOf(run.createTime);
    return [
      run.name,
      run.pipeline,
      paintStatus(console.colors, status),
      durationMs === undefined ? "" : formatDuration(durationMs),
      createdMs === undefined ? "" : formatAgo(createdMs, nowMs),
      run.principal,
    ];
  });
  await console.write(table(["RUN", "PIPELINE", "STATUS", "DURATION", "STARTED", "BY"], rows));
}

function parseLimit(text: string): number {
  const limit = Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1_000) throw new InvalidArgumentError("Give 1 to 1000.");
  return limit;
}

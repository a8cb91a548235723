import { Command, InvalidArgumentError } from "commander";
import { ProjectService } from "../../proto/gen/millrace/v1/project_pb.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { formatAgo, formatDuration } from "../output/format.ts";
import { paintStatus, timeOf } from "../output/labels.ts";
import { runSummaryJson } from "../output/run-json.ts";
import { allowedFailures } from "../output/run-summary.ts";
import { table } from "../output/table.ts";
import { parseRunName } from "../run-name.ts";

interface RunsOptions extends ConnectionOptions {
  readonly limit: number;
  readonly project?: string;
  readonly json?: boolean;
}

/** `millrace runs`. */
export function runsCommand(): Command {
  const command = withConnectionOptions(new Command("runs"))
    .description("List runs, newest first; or pin one so that it stays, and unpin it.")
    .option("-n, --limit <count>", "how many, from 1 to 1000", parseLimit, 20)
    .option("--project <name>", "only of this project")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace runs -n 5 --project shop\n  $ millrace runs pin run_12 --reason 'shipped as 2.0'",
    )
    .action(listRuns);
  const steer = (name: string, description: string) =>
    withConnectionOptions(command.command(name))
      .description(description)
      .argument("<run>", "the run, as 12 or run_12")
      .option("--json", "print one JSON object");
  // An option that the list has, too, is taken by the list: hence with globals.
  steer("pin", "Keep a run with its logs and artifacts, however old it gets.")
    .option("--reason <text>", "why, for others")
    .addHelpText("after", "\nExample:\n  $ millrace runs pin run_12 --reason 'shipped as 2.0'")
    .action((run: string, _options: unknown, self: Command) => pinRun(run, self.optsWithGlobals()));
  steer("unpin", "Let a run go when its time is over.")
    .addHelpText("after", "\nExample:\n  $ millrace runs unpin run_12")
    .action((run: string, _options: unknown, self: Command) => unpinRun(run, self.optsWithGlobals()));
  return command;
}

interface PinOptions extends ConnectionOptions {
  readonly reason?: string;
  readonly json?: boolean;
}

async function pinRun(name: string, { reason = "", ...options }: PinOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  await withConnection(options, (connection) => connection.runs.pinRun({ run, reason }));
  if (options.json) return console.writeJson({ run, pinned: true });
  console.note(`${run} stays until it is unpinned`);
}

async function unpinRun(name: string, options: PinOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  await withConnection(options, (connection) => connection.runs.unpinRun({ run }));
  if (options.json) return console.writeJson({ run, pinned: false });
  console.note(`${run} goes when its time is over`);
}

async function listRuns(options: RunsOptions): Promise<void> {
  const console = processConsole();
  const { runs, nextPageToken } = await withConnection(options, async ({ runs, client }) => {
    const { limit: pageSize, project = "" } = options;
    const page = await runs.listRuns({ pageSize, project });
    // Of a project that is not there, there is more to say than that it has no runs.
    if (page.runs.length === 0 && project !== "") await client(ProjectService).getProject({ name: project });
    return page;
  });
  const summaries = runs.map((run) => runSummaryJson(run));
  if (options.json) return console.writeJson({ runs: summaries, more: nextPageToken !== "" });
  if (runs.length === 0) {
    const [of, how] =
      options.project === undefined ? ["", ""] : [` of ${options.project}`, ` --project ${options.project}`];
    return console.note(`no runs${of} yet: start one with \`millrace run${how}\``);
  }
  const nowMs = Date.now();
  const rows = runs.map((run, index) => {
    const { status = "", durationMs } = summaries[index] ?? {};
    const createdMs = timeOf(run.createTime);
    return [
      run.pinned ? `${run.name} (pinned)` : run.name,
      run.pipeline,
      `${paintStatus(console.colors, status)}${allowedFailures(run)}`,
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

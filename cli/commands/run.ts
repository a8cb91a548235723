import { randomUUID } from "node:crypto";
import { join, resolve } from "node:path";
import { Command, Option } from "commander";
import { EndingKind, RunStatus, TaskStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Run } from "../../proto/gen/millrace/v1/run_pb.ts";
import { systemClock } from "../../shared/clock.ts";
import { MillraceError } from "../../shared/errors.ts";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { cacheFolder } from "../cache-folder.ts";
import { checkPipeline } from "../check-pipeline.ts";
import { type Connection, type ConnectionOptions, withConnection, withConnectionOptions } from "../connection.ts";
import { exitStatus } from "../exit-status.ts";
import { fetchRun } from "../fetch-run.ts";
import { followRun } from "../follow/follow-run.ts";
import { onInterrupts } from "../follow/interrupts.ts";
import { runView, silentView } from "../follow/run-view.ts";
import { knownPipelines } from "../known-pipelines.ts";
import { type Console, processConsole } from "../output/console.ts";
import { runResultJson } from "../output/run-json.ts";
import { runSummary } from "../output/run-summary.ts";
import { defaultPipelinePath } from "../read-pipeline.ts";
import { submitSource } from "../submit-source.ts";
import { statCachesFolder } from "../upload-source.ts";

interface RunOptions extends ConnectionOptions {
  readonly pipeline: string;
  readonly stage: readonly string[];
  readonly task: readonly string[];
  readonly local?: boolean;
  readonly detach?: boolean;
  readonly quiet?: boolean;
  readonly json?: boolean;
}

/** `millrace run`. */
export function runCommand(): Command {
  return withConnectionOptions(new Command("run"))
    .description(
      "Run the pipeline of a folder as the folder is now, follow its log, and end with its outcome:\n" +
        "0 it succeeded, 1 it failed, 2 the pipeline file is invalid, 3 the farm failed or the run was cancelled.\n" +
        "Ctrl-C cancels the run, a second one leaves it alone.",
    )
    .argument("[dir]", "the folder; what .gitignore names stays behind", ".")
    .option("-p, --pipeline <file>", "the pipeline file in the folder", defaultPipelinePath)
    .option("--stage <name>", "only this stage and what it needs; may be repeated", collect, [])
    .option("--task <name>", "only this task (stage/task or task) and what it needs; may be repeated", collect, [])
    .addOption(
      new Option("--local", "on a farm of one agent that is started for this run and stopped after it").conflicts([
        ...["detach", "address", "token"],
      ]),
    )
    .option("-d, --detach", "do not wait for the outcome")
    .option("-q, --quiet", "no log, only the summary")
    .option("--json", "print nothing but one JSON object, when the run has ended")
    .addHelpText("after", "\nExample:\n  $ millrace run examples/shop --stage build")
    .action(run);
}

async function run(dirText: string, options: RunOptions): Promise<void> {
  const console = processConsole();
  const dir = resolve(dirText);
  const problems = await checkPipeline({
    ...{ dir, path: options.pipeline },
    known: knownPipelines(join(cacheFolder(process.env), "pipelines")),
    onProblem: ({ message }) => console.note(message),
  });
  if (problems.length > 0) {
    console.note(problems.map(formatProblem).join("\n"));
    process.exitCode = exitStatus.usage;
    return;
  }
  const runOn = (farm: ConnectionOptions) =>
    withConnection(farm, (connection) => runWith(connection, console, dir, options));
  if (options.local !== true) return runOn(options);
  const { withLocalFarm } = await import("../up/local-farm.ts");
  const report = (part: string, problem: string) => console.note(`${console.colors.dim(`${part}:`)} ${problem}`);
  return withLocalFarm({ env: process.env, report }, runOn);
}

async function runWith(connection: Connection, console: Console, dir: string, options: RunOptions): Promise<void> {
  const name = await submit(connection, console, dir, options);
  if (options.detach) {
    if (options.json) return console.writeJson({ run: name, status: "running" });
    return console.write(`${name}\n`);
  }
  const outcome = await follow(connection, console, name, options);
  if (outcome === undefined) {
    process.exitCode = exitStatus.infrastructure;
    return console.note(`left ${name} alone; see \`millrace show ${name}\``);
  }
  process.exitCode = statusOf(outcome);
  if (options.json) await console.writeJson(runResultJson(outcome));
  else await console.write(runSummary(outcome, console.colors));
}

async function submit(connection: Connection, console: Console, dir: string, options: RunOptions): Promise<string> {
  const interrupted = new AbortController();
  const release = onInterrupts([
    () => interrupted.abort(new MillraceError("canceled", "interrupted; no run was started")),
  ]);
  try {
    const quiet = options.json === true || options.quiet === true;
    const name = await submitSource(connection, {
      dir,
      run: {
        pipelinePath: options.pipeline,
        idempotencyKey: randomUUID(),
        stages: [...options.stage],
        tasks: [...options.task],
      },
      signal: interrupted.signal,
      statCaches: statCachesFolder(process.env),
      clock: systemClock,
      onProblem: ({ message }) => console.note(message),
      ...(quiet ? {} : { console }),
    });
    if (!quiet && !options.detach) console.note(console.colors.dim(`submitted as ${name}`));
    return name;
  } catch (error) {
    throw interrupted.signal.aborted ? interrupted.signal.reason : error;
  } finally {
    release();
  }
}

/** The run when it has finished; undefined when the person left it alone. */
async function follow(
  connection: Connection,
  console: Console,
  name: string,
  options: RunOptions,
): Promise<Run | undefined> {
  const silent = options.json === true || options.quiet === true;
  const view = silent ? silentView : runView(console);
  const left = new AbortController();
  const cancel = async () => {
    if (!options.json) await view.remark("cancelling; press Ctrl-C again to leave the run alone");
    await connection.runs.cancelRun({ run: name, reason: "interrupted on the command line" });
  };
  const release = onInterrupts([() => void cancel().catch((error: unknown) => left.abort(error)), () => left.abort()]);
  try {
    await followRun(connection, { run: name, view, withLog: !silent, signal: left.signal });
  } catch (error) {
    if (!left.signal.aborted) throw error;
    return undefined;
  } finally {
    release();
    await view.close();
  }
  return fetchRun(connection, name);
}

function statusOf(run: Run): number {
  switch (run.status) {
    case RunStatus.SUCCEEDED:
      return exitStatus.success;
    case RunStatus.FAILED:
      return isFarmsFailure(run) ? exitStatus.infrastructure : exitStatus.runFailed;
    default:
      return exitStatus.infrastructure;
  }
}

/** No task failed by itself. Tasks that were skipped or cancelled for it do not count. */
function isFarmsFailure({ tasks }: Run): boolean {
  return tasks.every(({ status, ending }) => {
    const kind = ending?.kind ?? EndingKind.UNSPECIFIED;
    return status !== TaskStatus.FAILED || kind === EndingKind.INFRASTRUCTURE || kind === EndingKind.AGENT_LOST;
  });
}

function collect(value: string, values: readonly string[]): readonly string[] {
  return [...values, value];
}

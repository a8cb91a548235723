import { join, resolve } from "node:path";
import { Command, Option } from "commander";
import { systemClock } from "../../shared/clock.ts";
import { MillraceError } from "../../shared/errors.ts";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { isTypeScript } from "../../shared/pipeline/pipeline-path.ts";
import { openStatCache } from "../../shared/stat-cache/sqlite-stat-cache.ts";
import { cacheFolder } from "../cache-folder.ts";
import { checkPipeline } from "../check-pipeline.ts";
import { withConnectionOptions } from "../connection-options.ts";
import { exitStatus } from "../exit-status.ts";
import { knownPipelines } from "../known-pipelines.ts";
import { requireFolder, requireReadable } from "../named-file.ts";
import { repeated } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { withParamOption } from "../param-option.ts";
import { pipelineFileBelow, readPipeline } from "../read-pipeline.ts";
import type { RunOptions } from "../run-folder.ts";

/** `millrace run`. */
export function runCommand(): Command {
  return withParamOption(withConnectionOptions(new Command("run")))
    .description(
      "Run the pipeline of a folder as the folder is now, follow its log, and end with its outcome:\n" +
        "0 it succeeded, 1 it failed, 2 the pipeline file is invalid, 3 the farm failed or the run was cancelled.\n" +
        "Ctrl-C cancels the run, a second one leaves it alone; with --local it ends the farm.",
    )
    .argument("[dir]", "the folder; what .gitignore names stays behind", ".")
    .option(
      "-p, --pipeline <file>",
      "the pipeline file in the folder, or the name of one in .millrace/ (default: millrace.yaml or millrace.ts)",
      "",
    )
    .option("--git [url]", "a commit of this repository instead, or of the project's; an agent fetches it")
    .option("--ref <ref>", "with --git: a branch, a tag or a commit (default: the repository's own branch)")
    .option("--archive <file>", "what is in this tar instead (also .tar.gz and .tar.zst; - reads standard input)")
    .option("--stage <name>", "only this stage and what it needs; may be repeated", repeated)
    .option("--task <name>", "only this task (stage/task or task) and what it needs; may be repeated", repeated)
    .option("--project <name>", "the project that the run belongs to (default: default)")
    .addOption(
      new Option("--local", "on a farm of one agent that is started for this run and stopped after it").conflicts([
        ...["detach", "address", "token"],
      ]),
    )
    .addOption(
      new Option("--shell-on-failure", "then a shell where the first task failed; see millrace shell").conflicts([
        ...["detach", "json"],
      ]),
    )
    .option("-d, --detach", "do not wait for the outcome")
    .option("-q, --quiet", "no log, only the summary")
    .option("--json", "print nothing but one JSON object, when the run has ended")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace run examples/shop --stage build\n" +
        "  $ millrace run --git https://git.example.org/shop.git --ref topic/x",
    )
    .action(run);
}

async function run(dirText: string, options: RunOptions, command: Command): Promise<void> {
  const console = processConsole();
  const named = [...command.args, options.git, options.archive].filter((source) => source !== undefined);
  if (named.length > 1)
    throw new MillraceError("invalid_argument", "a run is of a folder, of --git or of --archive: name one");
  if (options.ref !== undefined && options.git === undefined) {
    throw new MillraceError("invalid_argument", "--ref names a commit of a repository: give --git, too");
  }
  if (options.git !== undefined || options.archive !== undefined) {
    if (options.archive !== undefined && options.archive !== "-") await requireReadable(options.archive);
    const { runElsewhere } = await import("../run-folder.ts");
    return runElsewhere(console, options);
  }
  const dir = resolve(dirText);
  const caches = cacheFolder(process.env);
  const onProblem = ({ message }: MillraceError) => console.note(message);
  const known = knownPipelines(join(caches, "pipelines"));
  requireFolder(dir);
  const path = pipelineFileBelow(dir, options.pipeline);
  // What it gives is known when an agent has evaluated it; the coordinator then says what is wrong.
  const checked = { dir, path, params: options.param ?? {}, known, onProblem };
  if (isTypeScript(path)) readPipeline(dir, path);
  const problems = isTypeScript(path) ? [] : await checkPipeline(checked);
  if (problems.length > 0) {
    console.note(problems.map(formatProblem).join("\n"));
    process.exitCode = exitStatus.usage;
    return;
  }
  const startedMs = systemClock.nowMs();
  const statCache = openStatCache({ folder: join(caches, "sources"), source: dir, startedMs, onProblem });
  try {
    // Its thread starts while the rest of the program is loaded, which takes as long.
    const { runFolder } = await import("../run-folder.ts");
    await runFolder({ dir, statCache, console, isTypeScript: isTypeScript(path) }, options);
  } finally {
    await (await statCache).close();
  }
}

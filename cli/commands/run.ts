import { join, resolve } from "node:path";
import { Command, Option } from "commander";
import { systemClock } from "../../shared/clock.ts";
import type { MillraceError } from "../../shared/errors.ts";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { defaultPipelinePath, pipelinePathOf } from "../../shared/pipeline/pipeline-path.ts";
import { openStatCache } from "../../shared/stat-cache/sqlite-stat-cache.ts";
import { cacheFolder } from "../cache-folder.ts";
import { checkPipeline } from "../check-pipeline.ts";
import { withConnectionOptions } from "../connection-options.ts";
import { exitStatus } from "../exit-status.ts";
import { knownPipelines } from "../known-pipelines.ts";
import { processConsole } from "../output/console.ts";
import { withParamOption } from "../param-option.ts";
import type { RunOptions } from "../run-folder.ts";

/** `millrace run`. */
export function runCommand(): Command {
  return withParamOption(withConnectionOptions(new Command("run")))
    .description(
      "Run the pipeline of a folder as the folder is now, follow its log, and end with its outcome:\n" +
        "0 it succeeded, 1 it failed, 2 the pipeline file is invalid, 3 the farm failed or the run was cancelled.\n" +
        "Ctrl-C cancels the run, a second one leaves it alone.",
    )
    .argument("[dir]", "the folder; what .gitignore names stays behind", ".")
    .option(
      "-p, --pipeline <file>",
      "the pipeline file in the folder, or the name of one in .millrace/",
      defaultPipelinePath,
    )
    .option("--stage <name>", "only this stage and what it needs; may be repeated", collect, [])
    .option("--task <name>", "only this task (stage/task or task) and what it needs; may be repeated", collect, [])
    .option("--project <name>", "the project that the run belongs to (default: default)")
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
  const caches = cacheFolder(process.env);
  const onProblem = ({ message }: MillraceError) => console.note(message);
  const known = knownPipelines(join(caches, "pipelines"));
  const path = pipelinePathOf(options.pipeline);
  const problems = await checkPipeline({ dir, path, params: options.param, known, onProblem });
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
    await runFolder({ dir, statCache, console }, options);
  } finally {
    await (await statCache).close();
  }
}

function collect(value: string, values: readonly string[]): readonly string[] {
  return [...values, value];
}

import { basename, dirname } from "node:path";
import { Command } from "commander";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { exitStatus } from "../exit-status.ts";
import { defaultPipelinePath, loadPipeline } from "../load-pipeline.ts";
import { processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";

interface ValidateOptions {
  readonly json?: boolean;
}

/** `millrace validate`. */
export function validateCommand(): Command {
  return new Command("validate")
    .description("Check a pipeline file and say all that is wrong in it at once. Needs no coordinator.")
    .argument("[file]", "the pipeline file", defaultPipelinePath)
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace validate ci/nightly.yaml")
    .action(validate);
}

async function validate(file: string, options: ValidateOptions): Promise<void> {
  const console = processConsole();
  const { pipeline, problems } = loadPipeline(dirname(file), basename(file));
  const placed = problems.map((problem) => ({ ...problem, file }));
  if (pipeline === undefined) process.exitCode = exitStatus.usage;
  if (options.json) return console.writeJson({ file, valid: pipeline !== undefined, problems: placed });
  if (pipeline === undefined) {
    console.note(`${placed.map(formatProblem).join("\n")}\n${counted(placed.length, "problem")} in ${file}`);
    return;
  }
  const tasks = pipeline.stages.reduce((count, stage) => count + stage.tasks.length, 0);
  await console.write(`${file} is valid: ${counted(pipeline.stages.length, "stage")}, ${counted(tasks, "task")}\n`);
}

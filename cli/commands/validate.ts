import { Command } from "commander";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { defaultPipelinePath } from "../../shared/pipeline/pipeline-path.ts";
import { exitStatus } from "../exit-status.ts";
import { loadPipelineFile } from "../load-pipeline.ts";
import { processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";

interface ValidateOptions {
  readonly json?: boolean;
}

/** `millrace validate`. */
export function validateCommand(): Command {
  return new Command("validate")
    .description("Check a pipeline file and say all that is wrong in it at once. Needs no coordinator.")
    .argument("[file]", "the pipeline file, or the folder that holds it", defaultPipelinePath)
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace validate ci/nightly.yaml")
    .action(validate);
}

async function validate(file: string, options: ValidateOptions): Promise<void> {
  const console = processConsole();
  const { path, pipeline, problems } = loadPipelineFile(file);
  const placed = problems.map((problem) => ({ ...problem, file: path }));
  if (pipeline === undefined) process.exitCode = exitStatus.usage;
  if (options.json) return console.writeJson({ file: path, valid: pipeline !== undefined, problems: placed });
  if (pipeline === undefined) {
    console.note(`${placed.map(formatProblem).join("\n")}\n${counted(placed.length, "problem")} in ${path}`);
    return;
  }
  const tasks = pipeline.stages.reduce((count, stage) => count + stage.tasks.length, 0);
  await console.write(`${path} is valid: ${counted(pipeline.stages.length, "stage")}, ${counted(tasks, "task")}\n`);
}

import { Command } from "commander";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import type { RefTrigger, Triggers } from "../../shared/pipeline/pipeline.ts";
import { exitStatus } from "../exit-status.ts";
import { loadPipelineFile } from "../load-pipeline.ts";
import { processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { type GivenParams, withParamOption } from "../param-option.ts";

interface ValidateOptions {
  readonly param?: GivenParams;
  readonly json?: boolean;
}

/** `millrace validate`. */
export function validateCommand(): Command {
  return withParamOption(new Command("validate"))
    .description(
      "Check a pipeline file and say all that is wrong in it at once. Needs no coordinator; a millrace.ts is evaluated on a farm as `run --local` starts one.",
    )
    .argument("[file]", "the pipeline file, the folder that holds it, or the name of one in .millrace/", ".")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace validate ci/nightly.yaml")
    .action(validate);
}

async function validate(file: string, options: ValidateOptions): Promise<void> {
  const console = processConsole();
  const { path, pipeline, problems } = await loadPipelineFile(file, {
    params: options.param ?? {},
    evaluate: async (...file) => (await import("../evaluate-file.ts")).evaluateLocally(...file),
  });
  if (pipeline === undefined) process.exitCode = exitStatus.usage;
  if (options.json) return console.writeJson({ file: path, valid: pipeline !== undefined, problems });
  if (pipeline === undefined) {
    console.note(`${problems.map(formatProblem).join("\n")}\n${counted(problems.length, "problem")} in ${path}`);
    return;
  }
  const tasks = pipeline.stages.reduce((count, stage) => count + stage.tasks.length, 0);
  const summary = `${path} is valid: ${counted(pipeline.stages.length, "stage")}, ${counted(tasks, "task")}`;
  await console.write([summary, ...triggerLines(pipeline.triggers)].map((line) => `${line}\n`).join(""));
}

/** What starts runs by itself, which nothing does yet. */
function triggerLines({ push, pull_request, schedule, upstream }: Triggers): string[] {
  const lines = [
    ...(push === undefined ? [] : [`push${refsOf(push)}`]),
    ...(pull_request === undefined ? [] : [`pull request${refsOf(pull_request)}`]),
    ...(schedule ?? []).map((times) => `schedule ${times}`),
    ...(upstream ?? []).map((pipeline) => `success of ${pipeline}`),
  ];
  if (lines.length === 0) return [];
  return [...lines.map((line) => `  on ${line}`), "  (what `on` says is kept; this version starts no run by it)"];
}

function refsOf({ branches, tags, paths }: RefTrigger): string {
  const parts = Object.entries({ branches, tags, paths }).flatMap(([what, patterns]) =>
    patterns === undefined ? [] : [`${what} ${patterns.join(", ")}`],
  );
  return parts.length === 0 ? "" : `: ${parts.join("; ")}`;
}

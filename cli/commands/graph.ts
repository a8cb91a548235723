import { basename, dirname } from "node:path";
import { Command } from "commander";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { exitStatus } from "../exit-status.ts";
import { drawPipeline, pipelineGraph } from "../graph/draw-pipeline.ts";
import { defaultPipelinePath, loadPipeline } from "../load-pipeline.ts";
import { processConsole } from "../output/console.ts";

interface GraphOptions {
  readonly json?: boolean;
}

/** `millrace graph`. */
export function graphCommand(): Command {
  return new Command("graph")
    .description("Draw a pipeline file: its stages in the order of their needs, their tasks and artifacts.")
    .argument("[file]", "the pipeline file", defaultPipelinePath)
    .option("--json", "print nodes and edges as one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace graph")
    .action(graph);
}

async function graph(file: string, options: GraphOptions): Promise<void> {
  const console = processConsole();
  const { pipeline, problems } = loadPipeline(dirname(file), basename(file));
  if (pipeline === undefined) {
    process.exitCode = exitStatus.usage;
    return console.note(problems.map((problem) => formatProblem({ ...problem, file })).join("\n"));
  }
  if (options.json) return console.writeJson(pipelineGraph(pipeline));
  await console.write(drawPipeline(pipeline, console.colors));
}

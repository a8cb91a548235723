import { Command } from "commander";
import { formatProblem } from "../../shared/pipeline/format-problem.ts";
import { exitStatus } from "../exit-status.ts";
import { toDot } from "../graph/dot.ts";
import { drawPipeline, pipelineGraph } from "../graph/draw-pipeline.ts";
import { loadPipelineFile } from "../load-pipeline.ts";
import { processConsole } from "../output/console.ts";
import { type GivenParams, withParamOption } from "../param-option.ts";

interface GraphOptions {
  readonly param?: GivenParams;
  readonly json?: boolean;
  readonly dot?: boolean;
}

/** `millrace graph`. */
export function graphCommand(): Command {
  return withParamOption(new Command("graph"))
    .description("Draw a pipeline file: its stages in the order of their needs, their tasks and artifacts.")
    .argument("[file]", "the pipeline file, the folder that holds it, or the name of one in .millrace/", ".")
    .option("--json", "print nodes and edges as one JSON object")
    .option("--dot", "print a Graphviz digraph")
    .addHelpText("after", "\nExamples:\n  $ millrace graph\n  $ millrace graph --dot | dot -Tsvg > pipeline.svg")
    .action(graph);
}

async function graph(file: string, options: GraphOptions): Promise<void> {
  const console = processConsole();
  const { pipeline, problems } = await loadPipelineFile(file, {
    params: options.param ?? {},
    evaluate: async (...file) => (await import("../evaluate-file.ts")).evaluateLocally(...file),
  });
  if (pipeline === undefined) {
    process.exitCode = exitStatus.usage;
    return console.note(problems.map(formatProblem).join("\n"));
  }
  if (options.json) return console.writeJson(pipelineGraph(pipeline));
  if (options.dot) return await console.write(toDot(pipeline));
  await console.write(drawPipeline(pipeline, console.colors));
}

import { Command, InvalidArgumentError, Option } from "commander";
import { FlowService } from "../../proto/gen/millrace/v1/flow_pb.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { drawPipelineFlow, drawRunFlow } from "../flow/draw-flow.ts";
import { pipelineFlowJson, runFlowJson } from "../flow/flow-json.ts";
import { processConsole } from "../output/console.ts";
import { parseRunName } from "../run-name.ts";

interface FlowOptions extends ConnectionOptions {
  readonly run?: string;
  readonly pipeline?: string;
  readonly last: number;
  readonly json?: boolean;
}

/** `millrace flow`. */
export function flowCommand(): Command {
  return withConnectionOptions(new Command("flow"))
    .description(
      "Show where the time went, along the longest path: work, and waiting by its cause; the bottleneck first.\n" +
        "Without a run and --pipeline it is about the newest run.",
    )
    .argument("[run]", "of one run, as 12 or run_12")
    .addOption(new Option("--run <run>", "the same").conflicts("pipeline"))
    .option("--pipeline <name>", "medians over the last successful runs of a pipeline")
    .option(
      "--last <count>",
      `of a pipeline: over how many runs, 1 to ${limits.flowRunsMax}`,
      parseLast,
      limits.flowRuns,
    )
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExamples:\n  $ millrace flow 12\n  $ millrace flow --pipeline shop")
    .action(showFlow);
}

async function showFlow(named: string | undefined, options: FlowOptions): Promise<void> {
  const console = processConsole();
  const { pipeline = "", last: runsMax } = options;
  if (named !== undefined && (options.run !== undefined || pipeline !== "")) {
    throw new MillraceError(
      "invalid_argument",
      `flow is of ${named}, or of what the options name: leave one of them out`,
    );
  }
  const run = runOf(named, options);
  const { flow } = await withConnection(options, ({ client }) =>
    client(FlowService).getFlow({ run, pipeline, runsMax }),
  );
  switch (flow.case) {
    case "run":
      if (options.json) return console.writeJson(runFlowJson(flow.value));
      return console.write(drawRunFlow(flow.value, { colors: console.colors, columns: console.columns() }));
    case "pipeline":
      if (options.json) return console.writeJson(pipelineFlowJson(flow.value));
      return console.write(drawPipelineFlow(flow.value, { colors: console.colors }));
    default:
      throw new MillraceError("internal", "the coordinator answered with a flow that this version does not know");
  }
}

/** The name of the run that is meant; empty for none. What is no run is probably a pipeline. */
function runOf(named: string | undefined, options: FlowOptions): string {
  const given = named ?? options.run;
  if (given === undefined) return "";
  try {
    return parseRunName(given);
  } catch (error) {
    const { code, message } = from(error);
    throw new MillraceError(code, `${message}; of a pipeline it is \`millrace flow --pipeline ${given}\``);
  }
}

function parseLast(text: string): number {
  const count = Number(text);
  if (Number.isInteger(count) && count >= 1 && count <= limits.flowRunsMax) return count;
  throw new InvalidArgumentError(`Give 1 to ${limits.flowRunsMax}.`);
}

import { Command } from "commander";
import { RunStatus } from "../../proto/gen/millrace/v1/event_pb.ts";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { runStatusLabel } from "../output/labels.ts";
import { parseRunName } from "../run-name.ts";

interface CancelOptions extends ConnectionOptions {
  readonly reason: string;
  readonly json?: boolean;
}

/** `millrace cancel`. */
export function cancelCommand(): Command {
  return withConnectionOptions(new Command("cancel"))
    .description(
      "Ask for the end of a run; its tasks are stopped. A finished run stays as it is, which is said and is no failure.\n" +
        "What is always executed still is, for an hour at most; a second call stops that, too.",
    )
    .argument("<run>", "the run, as 12 or run_12")
    .option("--reason <text>", "kept with the run", "asked for on the command line")
    .option("--json", "print one JSON object")
    .addHelpText("after", '\nExample:\n  $ millrace cancel 12 --reason "wrong branch"')
    .action(cancelRun);
}

async function cancelRun(name: string, options: CancelOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  const { status } = await withConnection(options, (connection) =>
    connection.runs.cancelRun({ run, reason: options.reason }),
  );
  // A coordinator of before does not say.
  const hadEnded = status !== RunStatus.RUNNING && status !== RunStatus.UNSPECIFIED;
  if (options.json) return console.writeJson({ run, status: runStatusLabel(status) });
  if (hadEnded) console.note(`${run} had ended already: it is ${runStatusLabel(status)}, and stays so`);
  else console.note(`asked for the end of ${run}; see \`millrace show ${run}\``);
}

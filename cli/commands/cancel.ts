import { Command } from "commander";
import { type ConnectionOptions, withConnection, withConnectionOptions } from "../connection.ts";
import { processConsole } from "../output/console.ts";
import { parseRunName } from "../run-name.ts";

interface CancelOptions extends ConnectionOptions {
  readonly reason: string;
  readonly json?: boolean;
}

/** `millrace cancel`. */
export function cancelCommand(): Command {
  return withConnectionOptions(new Command("cancel"))
    .description("Ask for the end of a run; its tasks are stopped. A finished run stays as it is.")
    .argument("<run>", "the run, as 12 or run_12")
    .option("--reason <text>", "kept with the run", "asked for on the command line")
    .option("--json", "print one JSON object")
    .addHelpText("after", '\nExample:\n  $ millrace cancel 12 --reason "wrong branch"')
    .action(cancelRun);
}

async function cancelRun(name: string, options: CancelOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  await withConnection(options, (connection) => connection.runs.cancelRun({ run, reason: options.reason }));
  if (options.json) return console.writeJson({ run });
  console.note(`asked for the end of ${run}; see \`millrace show ${run}\``);
}

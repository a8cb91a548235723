import { Command } from "commander";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { parseRunName } from "../run-name.ts";

interface PauseOptions extends ConnectionOptions {
  readonly reason?: string;
  readonly json?: boolean;
}

/** `millrace pause`. */
export function pauseCommand(): Command {
  return withConnectionOptions(new Command("pause"))
    .description("Let no further task of a run begin; what an agent has goes on to its end.")
    .argument("<run>", "the run, as 12 or run_12")
    .option("--reason <text>", "shown to all who look at the run")
    .option("--json", "print one JSON object")
    .addHelpText("after", '\nExample:\n  $ millrace pause 12 --reason "the database is being moved"')
    .action(async (name: string, options: PauseOptions) => {
      const run = parseRunName(name);
      await withConnection(options, ({ runs }) => runs.pauseRun({ run, reason: options.reason ?? "" }));
      await say(options, { run, paused: true }, `paused ${run}; it goes on with \`millrace resume ${run}\``);
    });
}

/** `millrace resume`. */
export function resumeCommand(): Command {
  return withConnectionOptions(new Command("resume"))
    .description("Let the tasks of a paused run begin again.")
    .argument("<run>", "the run, as 12 or run_12")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  $ millrace resume 12")
    .action(async (name: string, options: ConnectionOptions & { json?: boolean }) => {
      const run = parseRunName(name);
      await withConnection(options, ({ runs }) => runs.resumeRun({ run }));
      await say(options, { run, paused: false }, `${run} goes on`);
    });
}

async function say({ json }: { json?: boolean }, result: object, text: string): Promise<void> {
  const console = processConsole();
  if (json) return console.writeJson(result);
  console.note(text);
}

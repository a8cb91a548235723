import { Command } from "commander";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { parseRunName } from "../run-name.ts";
import { attachShell } from "../shell/attach-shell.ts";

interface ShellOptions extends ConnectionOptions {
  readonly agent?: string;
}

/** `millrace shell`. */
export function shellCommand(): Command {
  return withConnectionOptions(new Command("shell"))
    .description(
      "Open a shell where a task of a run was executed: same agent, same sandbox, same environment. For half an hour after a " +
        "failure the files are as the task left them; the first shell has them, and they go with it. Else the inputs are laid " +
        "out anew. Ends with the exit status of the shell, or 3 when the farm or the agent is lost.",
    )
    .argument("<run>", "the run, as 12 or run_12")
    .argument("<task>", "the task, as stage/task or task")
    .option("--agent <name>", "on this agent, with the inputs laid out anew unless it was the one")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace shell 12 test/unit\n  $ echo 'ls -la' | millrace shell 12 test/unit",
    )
    .action(openShell);
}

async function openShell(name: string, task: string, { agent = "", ...options }: ShellOptions): Promise<void> {
  const place = { run: parseRunName(name), task, agent };
  process.exitCode = await withConnection(options, (connection) => attachShell(connection, place, processConsole()));
}

import { Command } from "commander";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { parseRunName } from "../run-name.ts";

interface SkipOptions extends ConnectionOptions {
  readonly reason?: string;
  readonly json?: boolean;
}

/** `millrace skip`. */
export function skipCommand(): Command {
  return withConnectionOptions(new Command("skip"))
    .description(
      "Leave out a task that no agent has yet; what needs it goes on, unless it uses an artifact of it. A gate can be " +
        "skipped by operators and admins.",
    )
    .argument("<run>", "the run, as 12 or run_12")
    .argument("<task>", "the task, as stage/task or task; of one with variants, all that no agent has")
    .option("--reason <text>", "shown to all who look at the run")
    .option("--json", "print one JSON object")
    .addHelpText("after", '\nExample:\n  $ millrace skip 12 verify/load --reason "the load generator is down"')
    .action(skipTask);
}

async function skipTask(name: string, task: string, options: SkipOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  const reason = options.reason ?? "";
  const { tasks, running } = await withConnection(options, ({ runs }) => runs.skipTask({ run, task, reason }));
  if (options.json) return console.writeJson({ run, task, skipped: true, tasks, running });
  // A coordinator from before knows no variants, and names nothing.
  const names = tasks.length === 0 ? task : tasks.join(", ");
  console.note(`skipped ${names} of ${run}`);
  if (running.length > 0) console.note(`agents have ${running.join(", ")}: only what no agent has can be skipped`);
}

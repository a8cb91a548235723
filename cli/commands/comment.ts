import { Command } from "commander";
import { withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { processConsole } from "../output/console.ts";
import { parseRunName } from "../run-name.ts";

interface CommentOptions extends ConnectionOptions {
  readonly task?: string;
  readonly json?: boolean;
}

/** `millrace comment`. */
export function commentCommand(): Command {
  return withConnectionOptions(new Command("comment"))
    .description("Say something about a run or one of its tasks; `millrace show` has it.")
    .argument("<run>", "the run, as 12 or run_12")
    .argument("<text>", "what is to be said")
    .option("--task <task>", "about this task (stage/task or task) and not the run as a whole")
    .option("--json", "print one JSON object")
    .addHelpText("after", '\nExample:\n  $ millrace comment 12 "the mirror was down" --task build/compile')
    .action(comment);
}

async function comment(name: string, text: string, options: CommentOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  await withConnection(options, ({ runs }) => runs.commentRun({ run, text, task: options.task ?? "" }));
  if (options.json) return console.writeJson({ run, task: options.task ?? null, text });
  console.note(`noted; see \`millrace show ${run}\``);
}

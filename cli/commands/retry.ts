import { Command } from "commander";
import { AgentService } from "../../proto/gen/millrace/v1/agent_pb.ts";
import { MillraceError } from "../../shared/errors.ts";
import { type Connection, withConnection } from "../connection.ts";
import { type ConnectionOptions, withConnectionOptions } from "../connection-options.ts";
import { repeated } from "../option-values.ts";
import { processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { parseRunName } from "../run-name.ts";

interface RetryOptions extends ConnectionOptions {
  readonly failed?: boolean;
  readonly from?: readonly string[];
  readonly otherAgent?: boolean;
  readonly avoid?: readonly string[];
  /** Commander turns `--no-cache` into `cache: false`. */
  readonly cache: boolean;
  readonly json?: boolean;
}

/** `millrace retry`. */
export function retryCommand(): Command {
  return withConnectionOptions(new Command("retry"))
    .description(
      "Execute tasks of a run once more, and all that need them; what succeeded before stays. At any time, also while the " +
        "run goes on and when it has finished: then it goes on under its name.",
    )
    .argument("<run>", "the run, as 12 or run_12")
    .option("--failed", "all that failed or were cancelled; so it is without --from")
    .option(
      "--from <task>",
      "this task (stage/task or task; all its variants), whatever it came to; may be repeated",
      repeated,
    )
    .option("--other-agent", "not on the agent that had it last")
    .option("--avoid <agent>", "not on this agent; may be repeated", repeated)
    .option("--no-cache", "also if the cache has a result")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExamples:\n  $ millrace retry 12 --other-agent\n  $ millrace retry 12 --from build/compile --no-cache",
    )
    .action(retryRun);
}

async function retryRun(name: string, options: RetryOptions): Promise<void> {
  const console = processConsole();
  const run = parseRunName(name);
  const { from = [], avoid = [] } = options;
  if (options.failed === true && from.length > 0) {
    throw new MillraceError("invalid_argument", "--failed and --from say two things: give one of them");
  }
  const { tasks } = await withConnection(options, async (connection) => {
    await requireAgents(connection, avoid);
    return await connection.runs.retryRun({
      ...{ run, tasks: [...from], avoidAgents: [...avoid] },
      ...{ avoidLastAgent: options.otherAgent === true, bypassCache: !options.cache },
    });
  });
  if (options.json) return console.writeJson({ run, tasks });
  await console.write(`${counted(tasks.length, "task")} of ${run} once more: ${tasks.join(", ")}\n`);
}

/** A name that no agent has would avoid none, and nobody would see it. */
async function requireAgents({ client }: Connection, avoid: readonly string[]): Promise<void> {
  if (avoid.length === 0) return;
  const { agents } = await client(AgentService).listAgents({});
  const ids = agents.flatMap(({ info }) => info?.id ?? []);
  const unknown = avoid.find((id) => !ids.includes(id));
  if (unknown === undefined) return;
  throw new MillraceError("not_found", `--avoid: there is no agent "${unknown}"; there are: ${ids.join(", ")}`);
}

import { Command, Option } from "commander";
import { pino } from "pino";
import { systemClock } from "../shared/clock.ts";
import { limits } from "../shared/limits.ts";
import type { Agent } from "./agent.ts";
import { readAgentConfig } from "./config.ts";
import { wireAgent } from "./wiring.ts";

/** When there is no time for the tasks: processes get a second to clean up. */
const atOnce = { workMs: 0, graceMs: 1_000 };

/** `millrace agent`: joins a farm and runs what it is given, until SIGTERM or SIGINT. */
export function agentCommand(): Command {
  return new Command("agent")
    .description("Start an agent: it joins a farm and runs tasks on this machine.")
    .option("--coordinator <host:port>", "gRPC address of the coordinator")
    .addOption(
      new Option("--token <token>", "token with the role agent; better in MILLRACE_TOKEN or a file").conflicts(
        "tokenFile",
      ),
    )
    .option("--token-file <file>", "file that holds the token")
    .option("--pool <name>", "pool to belong to (default default)")
    .option("--slots <n>", "tasks to run at a time (default: one a processor)")
    .option("--label <name=value...>", "label that tasks can ask for, besides os and arch")
    .option("--tool <tool...>", "tool that tasks can ask for, besides the usual ones: name, or name=/path/to/name")
    .option("--sandbox <level>", "bubblewrap or none (default: bubblewrap where it works)")
    .option("--hide <dir...>", "folder that tasks in a sandbox do not see, besides the agent's own")
    .option("--data <dir>", "folder for the agent's store and state (default ~/.local/state/millrace/agent)")
    .option("--name <id>", "id of a new agent (default: made of the machine's name)")
    .option("--store-bytes <n>", "what the local store may hold; the least recently used goes first (default 32 GiB)")
    .option("--spool-bytes <n>", "output that may wait while the coordinator is away (default 256 MiB)")
    .option("--json", "print one JSON line when joined")
    .addHelpText(
      "after",
      "\nExample:\n  $ millrace agent --coordinator farm.example.org:7070 --token-file agent.token --slots 4",
    )
    .action(async (flags: { json?: boolean }) => {
      const config = readAgentConfig({ flags, env: process.env });
      const log = pino({ name: "agent" }, pino.destination({ dest: 2, sync: true }));
      let failure: Error | undefined;
      const agent = await wireAgent(config, {
        clock: systemClock,
        onError: (error) => log.warn({ code: error.code }, error.message),
        onStep: (execution, step) => log.info({ execution, step }, "host operation"),
        // A farm that `up` started leaves nothing behind when it ends.
        unitsEnd: () => process.send !== undefined,
        onExpelled(error) {
          failure = error;
          process.kill(process.pid, "SIGTERM");
        },
      });
      const ended = stopOnDemand(agent, (why) => log.info(why));
      try {
        await agent.start();
        process.stdout.write(
          flags.json
            ? `${JSON.stringify({ agent: agent.id, state: "online" })}\n`
            : `agent ${agent.id} online: ${config.slots} slots\n`,
        );
      } catch (error) {
        if (!ended.begun()) {
          await agent.stop();
          throw error;
        } // else it was told to stop before it had joined
      }
      await ended.promise;
      if (failure !== undefined) throw failure;
    });
}

/** Signals drain the agent, a second one hurries it; a supervisor that vanishes leaves no time at all. */
function stopOnDemand(agent: Agent, say: (why: string) => void) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let begun = false;
  const stop = (why: string, times?: typeof atOnce) => {
    say(why);
    agent.stop(begun ? atOnce : times).then(resolve, reject);
    begun = true;
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stop(`${signal}: draining`));
  if (process.send !== undefined) {
    process.once("disconnect", () => {
      setTimeout(() => process.exit(1), limits.orphanMs).unref();
      stop("the supervisor is gone: ending at once", atOnce);
    });
    process.channel?.unref(); // the channel alone is no reason to stay
  }
  return { promise, begun: () => begun };
}

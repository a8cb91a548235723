import { rmSync, writeFileSync } from "node:fs";
import { Command, Option } from "commander";
import { pino } from "pino";
import { systemClock } from "../shared/clock.ts";
import type { MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import type { Agent } from "./agent.ts";
import { type AgentConfig, readAgentConfig } from "./config.ts";
import { openUpgrades } from "./upgrade/open-upgrades.ts";
import { trialOption } from "./upgrade/trial.ts";
import { failedUpgrade, wireAgent } from "./wiring.ts";

/** When there is no time for the tasks: processes get a second to clean up. */
const atOnce = { workMs: 0, graceMs: 1_000 };

/** When there is nothing left to do but to wait for the last report to be taken. */
const spent = { workMs: limits.ephemeralReportMs, graceMs: 1_000 };

/** `millrace agent`: joins a farm and runs what it is given, until SIGTERM or SIGINT. */
export function agentCommand(): Command {
  return new Command("agent")
    .description("Start an agent: it joins a farm and runs tasks on this machine.")
    .option("--coordinator <host:port>", "gRPC address of the coordinator")
    .addOption(
      new Option("--token <token>", "lets it in at its first start; better in MILLRACE_TOKEN or a file").conflicts(
        "tokenFile",
      ),
    )
    .option("--token-file <file>", "file that holds the token")
    .option("--credentials <file>", "where it keeps its keys for this farm (default: in --data, by --coordinator)")
    .option("--tls-ca <ca>", "who vouches for a coordinator whose token has no fingerprint: system, or a file")
    .option("--pool <name>", "pool to belong to, where its token names none (default: default)")
    .option("--slots <n>", "tasks to run at a time (default: one a processor)")
    .option("--label <name=value...>", "label that tasks can ask for, besides os and arch")
    .option("--tool <tool...>", "tool that tasks can ask for, besides the usual ones: name, or name=/path/to/name")
    .option("--only-named-tools", "look for no tools but those that --tool names: an agent starts half a second sooner")
    .option("--sandbox <level>", "bubblewrap or none (default: bubblewrap where it works)")
    .option("--hide <dir...>", "folder that tasks in a sandbox do not see, besides the agent's own")
    .option("--source-path <dir...>", "folder below which runs may read git repositories by their path")
    .option("--ephemeral", "run one task, then end and be forgotten")
    .option("--data <dir>", "folder for the agent's store and state (default: ~/.local/state/millrace/agent)")
    .option("--name <id>", "id of a new agent (default: made of the machine's name)")
    .option("--store-bytes <n>", "what the local store may hold; the least recently used goes first (default: 32 GiB)")
    .option("--ready-file <file>", "file that holds the agent's id once it has joined, until it ends")
    .option("--upgrade", "exchange its own executable when the coordinator offers a newer one; the installer sets it")
    .addOption(new Option(trialOption, "join, take no work, and wait for the end").hideHelp())
    .option("--spool-bytes <n>", "output that may wait while the coordinator is away (default: 256 MiB)")
    .option("--json", "print one JSON line when joined")
    .addHelpText(
      "after",
      "\nExample:\n  $ millrace agent --coordinator farm.example.org:7070 --token-file agent.token --slots 4",
    )
    .action(runAgent);
}

async function runAgent(flags: { json?: boolean }): Promise<void> {
  const config = readAgentConfig({ flags, env: process.env });
  const log = pino({ name: "agent" }, pino.destination({ dest: 2, sync: true }));
  let failure: Error | undefined;
  const expelled = new AbortController();
  forgetReady(config); // of a start that ended by force
  const onError = (error: MillraceError) => log.warn({ code: error.code }, error.message);
  const say = (what: string) => log.info(what);
  const upgrades = openUpgrades(config, { say, onError, drain: (why) => ended.drain(why) });
  const agent = await wireAgent(config, {
    clock: systemClock,
    onError,
    onStep: (execution, step) => log.info({ execution, step }, "host operation"),
    // A farm that `up` started leaves nothing behind when it ends.
    unitsEnd: () => process.send !== undefined && config.trial !== true,
    onSpent: () => ended.finish("its one task has ended", spent),
    onExpelled(error) {
      failure = error;
      expelled.abort();
    },
    upgrades: upgrades && { ...upgrades, failed: upgrades.failed && failedUpgrade(upgrades.failed) },
  });
  const ended = stopOnDemand(agent, { say, expelled: expelled.signal, onEnd: () => upgrades?.end() });
  try {
    await agent.start();
    sayReady(config, agent, flags.json === true);
  } catch (error) {
    if (!ended.begun()) {
      await agent.stop();
      throw error;
    } // else it was told to stop before it had joined
  }
  await ended.promise;
  forgetReady(config);
  if (failure !== undefined) throw failure;
  await upgrades?.conclude();
}

function sayReady({ slots, trial, readyFile }: AgentConfig, { id }: Agent, asJson: boolean): void {
  if (readyFile !== undefined && trial !== true) writeFileSync(readyFile, `${id}\n`);
  const state = trial === true ? "trial" : "online";
  process.stdout.write(asJson ? `${JSON.stringify({ agent: id, state })}\n` : `agent ${id} ${state}: ${slots} slots\n`);
}

function forgetReady({ readyFile, trial }: AgentConfig): void {
  if (readyFile !== undefined && trial !== true) rmSync(readyFile, { force: true });
}

interface StopDemands {
  readonly say: (why: string) => void;
  /** Aborted when the farm does not want this agent any more. */
  readonly expelled: AbortSignal;
  /** Told when somebody wants the agent to end for good. */
  readonly onEnd: () => void;
}

/**
 * Signals drain the agent, a second one hurries it; a supervisor that vanishes leaves no time at all, nor does a farm that
 * does not want it any more: nobody will take the results of its tasks.
 */
function stopOnDemand(agent: Agent, { say, expelled, onEnd }: StopDemands) {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let begun = false;
  let ending = false;
  const stop = (why: string, times?: Parameters<Agent["stop"]>[0]) => {
    say(why);
    agent.stop(times).then(resolve, reject);
    begun = true;
  };
  const end = (why: string, times?: typeof atOnce) => {
    onEnd();
    stop(why, ending ? atOnce : times);
    ending = true;
  };
  expelled.addEventListener("abort", () => end("the farm does not want this agent: ending at once", atOnce), {
    once: true,
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => end(`${signal}: draining`));
  if (process.send !== undefined) {
    process.once("disconnect", () => {
      setTimeout(() => process.exit(1), limits.orphanMs).unref();
      end("the supervisor is gone: ending at once", atOnce);
    });
    process.channel?.unref(); // the channel alone is no reason to stay
  }
  return {
    promise,
    begun: () => begun,
    /** For an upgrade: what is running may finish. */
    drain: (why: string) => stop(why, { workMs: limits.upgradeDrainMs, graceMs: limits.killGraceMs }),
    /** It has nothing more to do, ever. */
    finish(why: string, times: typeof spent) {
      onEnd();
      stop(why, times);
    },
  };
}

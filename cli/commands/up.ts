import { once } from "node:events";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { from, MillraceError } from "../../shared/errors.ts";
import { keepingArgs, keepingFlags } from "../../shared/keeping-flags.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { isLoopback } from "../../shared/network-address.ts";
import { ownProgram } from "../../shared/single-file.ts";
import { FolderInUse } from "../../shared/sqlite/folder-lock.ts";
import { defaultDataFolder } from "../data-folder.ts";
import { type Console, processConsole, progressConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { whileShowing } from "../output/status-line.ts";
import { childLog } from "../up/child-log.ts";
import { detachedLog, startDetached } from "../up/detached.ts";
import { type Farm, type FarmOptions, startFarm } from "../up/farm.ts";
import { defaultPorts } from "../up/ports.ts";
import { alreadyUp, downCommand, farmProcess } from "../up/running-farm.ts";
import { stopTelling } from "../up/stopping.ts";

interface UpOptions {
  readonly data: string;
  readonly agents: number;
  readonly slots?: number;
  readonly host: string;
  readonly grpcPort?: number;
  readonly httpPort?: number;
  readonly natsPort?: number;
  readonly nats?: string;
  readonly natsCreds?: string;
  readonly natsCa?: string;
  readonly advertise?: string;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly tlsCa?: string;
  readonly dist?: string;
  readonly insecure?: boolean;
  readonly detach?: boolean;
  /** Of one in the background: where it says what others say on standard error. */
  readonly logFile?: string;
  readonly json?: boolean;
}

/** `millrace up`. */
export function upCommand(): Command {
  const port = (name: keyof typeof defaultPorts) => `0 is any free one; default: as before, else ${defaultPorts[name]}`;
  const command = new Command("up")
    .description(
      "Start a coordinator, NATS and agents on this machine, keep each of them running, and stop them all at the end.\n" +
        "The command line of the same user then finds this farm by itself.",
    )
    .option(
      "--data <dir>",
      "the folder for everything that must last (env: MILLRACE_DATA)",
      defaultDataFolder(process.env),
    )
    .option("--agents <count>", "local agents, from 0 to 64", bounded(0, 64), 2)
    .option("--slots <count>", "actions that each agent runs at a time", bounded(1, 1_024))
    .option("--host <address>", "where coordinator and NATS listen; beyond this machine with TLS", "127.0.0.1")
    .option("--advertise <host>", "the name or address that others are told to connect to (default: --host)")
    .option("--grpc-port <port>", port("grpc"), bounded(0, 65_535))
    .option("--http-port <port>", port("http"), bounded(0, 65_535))
    .option("--nats-port <port>", port("nats"), bounded(0, 65_535))
    .option("--nats <url>", "use this NATS instead of starting one")
    .option("--nats-creds <file>", "its users, as JSON: coordinator and agent, each with user and password")
    .option(
      "--nats-ca <ca>",
      "who vouches for it, with a tls:// url: system, or a file (default: as for the coordinator)",
    )
    .option("--tls-cert <file>", "a certificate of your own with its chain, PEM (default: one of the farm's own CA)")
    .option("--tls-key <file>", "its key, PEM")
    .option("--tls-ca <ca>", "who vouches for it: system, or a file (default: system)")
    .option("--insecure", "listen beyond this machine without TLS: everything crosses the network in the clear")
    .option("--dist <dir>", "the folder with the programs that agents are installed from")
    .option("-d, --detach", "start it in the background and return when everything serves; `millrace down` stops it")
    .addOption(new Option("--log-file <file>").hideHelp())
    .option("--json", "print one JSON object on one line when everything serves");
  for (const [flag, about] of keepingFlags) command.option(flag, about);
  return command
    .addHelpText("after", "\nExamples:\n  $ millrace up --detach\n  $ millrace up --data /srv/millrace --agents 4")
    .action((given: UpOptions) => up(absolutePaths(given), command));
}

async function up(options: UpOptions, command: Command): Promise<void> {
  const console = processConsole();
  const note = options.logFile === undefined ? console.note : logged(options.logFile);
  warn(options, note);
  const stopRequested = nextStopSignal();
  const starting = new AbortController();
  void stopRequested.then(() => starting.abort(new MillraceError("canceled", "interrupted before the farm was up")));
  const { signal } = starting;
  const whileStarting = <T>(start: () => Promise<T>) =>
    whileShowing(
      progressConsole(),
      () => `starting NATS, the coordinator and ${counted(options.agents, "agent")}`,
      start,
    );
  if (options.detach) {
    const ready = await whileStarting(() => upInBackground(options, { args: argsOf(command, options), signal }));
    if (options.json) return console.writeJson(ready);
    return console.write(describeFarm(console, { ...ready, dataDir: options.data }, options));
  }

  const report = (name: string, problem: string) => note(`${console.colors.dim(`${name}:`)} ${problem}`);
  const farm = await whileStarting(() => startFarm({ ...farmOptions(options), report, signal })).catch(
    (error: unknown) => {
      if (signal.aborted) return undefined;
      const running = error instanceof FolderInUse ? farmProcess(options.data) : undefined;
      throw running === undefined ? error : alreadyUp(options.data, running.pid);
    },
  );
  if (farm === undefined) return note("stopped before everything was up");
  const { grpc, http, nats, dataDir } = farm;
  if (options.json) await console.writeJson({ grpc, http, nats, data: dataDir, pid: process.pid });
  else await console.write(describeFarm(console, farm, options));

  await stopRequested;
  void nextStopSignal().then(() => farm.kill());
  const stop = () =>
    farm.stop().catch((error: unknown) => {
      throw from(error, "stopping");
    });
  const hurry = options.logFile === undefined ? "Ctrl-C once more" : `\`${downCommand(dataDir)}\` once more`;
  await stopTelling({ farm: { address: grpc, ...farm }, console: { note }, hurry, stop });
}

function farmOptions(options: UpOptions): Omit<FarmOptions, "report" | "signal"> {
  const { data: dataDir, agents, slots, host, advertise, dist } = options;
  const { insecure, tlsCert, tlsKey, tlsCa, nats: url, natsCreds: credentialsFile, natsCa: ca } = options;
  return {
    ...{ dataDir, agents, slots, host, advertise, dist },
    tls: { insecure, tlsCert, tlsKey, tlsCa },
    ports: { grpc: options.grpcPort, http: options.httpPort, nats: options.natsPort },
    nats: url === undefined ? undefined : { url, credentialsFile, ca },
    self: ownProgram,
    env: process.env,
    coordinatorArgs: keepingArgs({ ...options }),
  };
}

/** A farm that is up already is looked for first, so that its log is left alone. */
async function upInBackground(
  { data: dataDir }: UpOptions,
  { args, signal }: { readonly args: readonly string[]; readonly signal: AbortSignal },
) {
  const running = farmProcess(dataDir);
  if (running !== undefined) throw alreadyUp(dataDir, running.pid);
  makeFolder(dataDir);
  const ready = JSON.parse(await startDetached({ self: ownProgram(), args, dataDir, signal })) as UpJson;
  return { ...ready, log: detachedLog(dataDir) };
}

/** What `up --json` prints. */
type UpJson = Pick<Farm, "grpc" | "http" | "nats"> & { readonly data: string; readonly pid: number };

function warn({ host, insecure, nats, natsCreds }: UpOptions, note: Console["note"]): void {
  if (insecure && !isLoopback(host)) {
    note(`--insecure: whoever is on the network of ${host} can read tokens, sources and logs, and change them`);
  }
  if (nats === undefined) return;
  if (natsCreds === undefined) {
    throw new MillraceError(
      "invalid_argument",
      "--nats needs the users of that server: name their file with --nats-creds",
    );
  }
  note(sharedUserWarning);
}

/** Said at each start, for it is easily forgotten. */
const sharedUserWarning =
  "--nats: all agents share the one NATS user of --nats-creds, so they are not isolated from each other: each could read\n" +
  "what is assigned to another, and report in its name. One that is removed loses its way to the coordinator, but not\n" +
  "its connection to that NATS before the password is changed. The NATS that `up` starts itself holds each agent to its own.";

/** SIGHUP is the terminal going away. */
function nextStopSignal(): Promise<unknown> {
  return Promise.race((["SIGINT", "SIGTERM", "SIGHUP"] as const).map((signal) => once(process, signal)));
}

function describeFarm(
  { colors }: Console,
  { grpc, http, nats, dataDir }: Pick<Farm, "grpc" | "http" | "nats" | "dataDir">,
  { agents, detach }: UpOptions,
): string {
  const row = (name: string, value: string) => `  ${colors.dim(name.padEnd(7))} ${value}\n`;
  const [where, stop] = detach ? [" in the background", `\`${downCommand(dataDir)}\``] : ["", "Ctrl-C"];
  return (
    `${colors.green("Millrace is up")}${where} with ${counted(agents, "agent")}.\n\n` +
    row("gRPC", grpc) +
    row("HTTP", http) +
    row("NATS", nats) +
    row("data", dataDir) +
    row("logs", detach ? `${detachedLog(dataDir)}, and one of each part beside it` : join(dataDir, "logs")) +
    `\nTry \`millrace run\` in a folder with a millrace.yaml; ${stop} stops everything.\n`
  );
}

/** Remarks of a farm in the background, each with its time: nobody reads them when they come. */
function logged(file: string): Console["note"] {
  const log = childLog(file);
  return (text) => log.line(`${new Date().toISOString()} ${text}`);
}

/** The options with absolute paths, for processes that may have another working directory. */
function absolutePaths(options: UpOptions): UpOptions {
  const paths = ["data", "natsCreds", "natsCa", "tlsCert", "tlsKey", "tlsCa", "dist"] as const;
  const absolute = paths.flatMap((name) => {
    const path = options[name];
    return path === undefined || path === "system" ? [] : [[name, resolve(path)] as const];
  });
  return { ...options, ...Object.fromEntries(absolute) };
}

/** The options as arguments for another process, but for those that say how this one ends. */
function argsOf(command: Command, options: UpOptions): string[] {
  const { detach: _detach, json: _json, ...others } = options;
  const given = new Map<string, string | number | boolean | undefined>(Object.entries(others));
  return command.options.flatMap((option) => {
    const value = given.get(option.attributeName());
    if (value === undefined || value === false) return [];
    return value === true ? [option.long ?? ""] : [option.long ?? "", String(value)];
  });
}

function bounded(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`Give a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

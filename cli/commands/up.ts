import { once } from "node:events";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { from, MillraceError } from "../../shared/errors.ts";
import { keepingArgs, keepingFlags } from "../../shared/keeping-flags.ts";
import { isLoopback } from "../../shared/network-address.ts";
import { ownProgram } from "../../shared/single-file.ts";
import { type Console, processConsole } from "../output/console.ts";
import { counted } from "../output/format.ts";
import { type Farm, startFarm } from "../up/farm.ts";
import { defaultPorts } from "../up/ports.ts";

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
  readonly json?: boolean;
}

/** `millrace up`. */
export function upCommand(): Command {
  const data = process.env.MILLRACE_DATA || join(homedir(), ".local", "share", "millrace");
  const port = (name: keyof typeof defaultPorts) => `0 is any free one; default: as before, else ${defaultPorts[name]}`;
  const command = new Command("up")
    .description(
      "Start a coordinator, NATS and agents on this machine, keep each of them running, and stop them all at the end.\n" +
        "The command line of the same user then finds this farm by itself.",
    )
    .option("--data <dir>", "the folder for everything that must last (env: MILLRACE_DATA)", data)
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
    .option("--json", "print one JSON object on one line when everything serves");
  for (const [flag, about] of keepingFlags) command.option(flag, about);
  return command.addHelpText("after", "\nExample:\n  $ millrace up --data /srv/millrace --agents 4").action(up);
}

async function up(options: UpOptions): Promise<void> {
  const console = processConsole();
  const { host, insecure } = options;
  if (insecure && !isLoopback(host)) {
    console.note(`--insecure: whoever is on the network of ${host} can read tokens, sources and logs, and change them`);
  }
  if (options.nats !== undefined && options.natsCreds === undefined) {
    throw new MillraceError(
      "invalid_argument",
      "--nats needs the users of that server: name their file with --nats-creds",
    );
  }
  if (options.nats !== undefined) console.note(sharedUserWarning);
  const natsCa = absolute(options.natsCa);
  const stopRequested = nextStopSignal();
  const starting = new AbortController();
  void stopRequested.then(() => starting.abort());
  const farm = await startFarm({
    dataDir: resolve(options.data),
    agents: options.agents,
    slots: options.slots,
    host,
    advertise: options.advertise,
    tls: {
      insecure,
      tlsCert: absolute(options.tlsCert),
      tlsKey: absolute(options.tlsKey),
      tlsCa: absolute(options.tlsCa),
    },
    ports: { grpc: options.grpcPort, http: options.httpPort, nats: options.natsPort },
    nats:
      options.nats === undefined ? undefined : { url: options.nats, credentialsFile: options.natsCreds, ca: natsCa },
    dist: options.dist === undefined ? undefined : resolve(options.dist),
    self: ownProgram,
    env: process.env,
    coordinatorArgs: keepingArgs({ ...options }),
    signal: starting.signal,
    report: (name, problem) => console.note(`${console.colors.dim(`${name}:`)} ${problem}`),
  }).catch((error: unknown) => {
    if (starting.signal.aborted) return undefined;
    throw error;
  });
  if (farm === undefined) return console.note("stopped before everything was up");
  if (options.json) {
    const { grpc, http, nats, dataDir } = farm;
    await console.writeJson({ grpc, http, nats, data: dataDir, pid: process.pid });
  } else {
    await console.write(describeFarm(console, farm, options.agents));
  }

  await stopRequested;
  if (!options.json) console.note("stopping; once more ends everything at once");
  void nextStopSignal().then(() => farm.kill());
  await farm.stop().catch((error: unknown) => {
    throw from(error, "stopping");
  });
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

function describeFarm({ colors }: Console, farm: Farm, agents: number): string {
  const row = (name: string, value: string) => `  ${colors.dim(name.padEnd(7))} ${value}\n`;
  return (
    `${colors.green("Millrace is up")} with ${counted(agents, "agent")}.\n\n` +
    row("gRPC", farm.grpc) +
    row("HTTP", farm.http) +
    row("NATS", farm.nats) +
    row("data", farm.dataDir) +
    row("logs", join(farm.dataDir, "logs")) +
    "\nTry `millrace run` in a folder with a millrace.yaml; Ctrl-C stops everything.\n"
  );
}

/** What is `system` or a path, for processes that may have another working directory. */
function absolute(path: string | undefined): string | undefined {
  return path === undefined || path === "system" ? path : resolve(path);
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

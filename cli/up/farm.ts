import { readFileSync } from "node:fs";
import { join } from "node:path";
import { from, MillraceError } from "../../shared/errors.ts";
import { nestingOf } from "../../shared/nesting.ts";
import { hostPort, isAnyAddress, localHost } from "../../shared/network-address.ts";
import { writePrivateFile } from "../../shared/private-file.ts";
import { agentEnvironment, agentFlags, coordinatorFlags } from "../../shared/process-shape.ts";
import type { OwnProgram } from "../../shared/single-file.ts";
import { lockFolder } from "../../shared/sqlite/folder-lock.ts";
import { chooseServerTls } from "../../shared/tls/choose-server-tls.ts";
import type { ServerTls } from "../../shared/tls/server-tls.ts";
import { type StoredCredentials, userCredentialsFile, withFarm } from "../credentials.ts";
import { type Child, type ChildOptions, type ChildSpec, superviseChild } from "./child.ts";
import type { ChildCommand } from "./child-process.ts";
import { embeddedNats, findNatsServer } from "./nats.ts";
import { choosePorts, keepPorts, type WantedPorts } from "./ports.ts";
import { forgetFarm, recordFarm } from "./running-farm.ts";

export interface FarmOptions {
  readonly dataDir: string;
  /** Local agents; 0 is none. */
  readonly agents: number;
  /** Of each agent; undefined leaves it to the agent. */
  readonly slots: number | undefined;
  readonly host: string;
  /** What others are told to connect to, where that is not `host`. */
  readonly advertise?: string | undefined;
  readonly tls?: FarmTls;
  /** The folder with the programs that agents are installed from; undefined leaves it to the coordinator. */
  readonly dist?: string | undefined;
  readonly ports: WantedPorts;
  /** An external NATS instead of the embedded one. */
  readonly nats: ExternalNats | undefined;
  /** How this program starts itself, with flags for its Node. */
  readonly self: (flags: readonly string[]) => OwnProgram;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What else the coordinator is told. */
  readonly coordinatorArgs?: readonly string[];
  /** The user's command line does not learn of this farm. */
  readonly isPrivate?: boolean;
  /** Its abort ends a start that is under way. */
  readonly signal: AbortSignal;
  report: ChildOptions["report"];
}

/** What was said about TLS; all left out is the farm's own CA beyond loopback. */
export interface FarmTls {
  /** None, whatever it listens on. */
  readonly insecure?: boolean | undefined;
  /** The operator's own certificate, and who vouches for it: `system` (default) or a file. Paths are absolute. */
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  readonly tlsCa?: string | undefined;
}

export interface ExternalNats {
  /** nats:// or tls:// */
  readonly url: string;
  /** The file with its users. */
  readonly credentialsFile: string | undefined;
  /** Who vouches for it, with tls://: `system` or a file. */
  readonly ca: string | undefined;
}

/** A farm on this machine. */
export interface Farm {
  readonly grpc: string;
  readonly http: string;
  readonly nats: string;
  /** The first admin's, with the fingerprint of the farm's own CA where it has one. */
  readonly token: string;
  /** Who vouches for a certificate of the operator's. */
  readonly tlsCa?: string;
  readonly dataDir: string;
  /** Agents, then the coordinator, then NATS; bounded. */
  stop(): Promise<void>;
  /** Ends a waiting `stop` at once. */
  kill(): void;
}

/**
 * Starts NATS, the coordinator and the agents, in this order; when one does not come up, none stays.
 * @throws MillraceError failed_precondition inside of too many farms
 */
export async function startFarm(options: FarmOptions): Promise<Farm> {
  nestingOf(options.env); // what its agents would refuse, said once and at once
  const lock = lockFolder(options.dataDir, "`millrace up`");
  /** In the order of start; those of one inner list stop together. */
  const groups: Child<unknown>[][] = [];
  const stop = async () => {
    for (const group of groups.toReversed()) await Promise.all(group.map((child) => child.stop()));
    forgetFarm(options.dataDir);
    lock.release();
  };
  const kill = () => {
    for (const child of groups.flat()) child.kill();
  };
  options.signal.addEventListener("abort", kill, { once: true });
  try {
    recordFarm(options.dataDir);
    const parts = await startParts(options, groups);
    options.signal.throwIfAborted();
    return { ...parts, dataDir: options.dataDir, stop, kill };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    options.signal.removeEventListener("abort", kill);
  }
}

async function startParts(options: FarmOptions, groups: Child<unknown>[][]) {
  const { dataDir, host } = options;
  const childOptions: ChildOptions = { dataDir, report: options.report };
  const chosen = await choosePorts(dataDir, host, options.ports);
  const faces = await facesOf(options);
  const nats = await startNats(options, faces, chosen.nats, { groups, childOptions });

  const coordinatorDir = join(dataDir, "coordinator");
  // Learned at the first start and kept: a restarted coordinator must be found where it was.
  let { grpc: grpcPort, http: httpPort } = chosen;
  const coordinator = superviseChild(
    {
      name: "coordinator",
      command: () => {
        const args = [
          ...["coordinator", "--data", coordinatorDir, "--host", host, ...faces.flags, ...nats.flags],
          ...["--grpc-port", String(grpcPort), "--http-port", String(httpPort), "--nats", nats.url],
          ...(options.dist === undefined ? [] : ["--dist", options.dist]),
          ...(options.coordinatorArgs ?? []),
          "--json",
        ];
        return ownCommand(options, args, coordinatorFlags);
      },
      readyFrom: readyCoordinator,
    },
    childOptions,
  );
  options.signal.throwIfAborted();
  groups.push([coordinator]);
  const ready = await coordinator.start();
  grpcPort = portOf(ready.grpc);
  httpPort = Number(new URL(ready.http).port);
  keepPorts(dataDir, { grpc: grpcPort, http: httpPort, nats: nats.port ?? chosen.nats });

  const address = hostPort(faces.localName, grpcPort);
  const http = `${faces.tls === undefined ? "http" : "https"}://${hostPort(faces.localName, httpPort)}`;
  const agents = Array.from({ length: options.agents }, (_, index) =>
    superviseChild(localAgent(options, { number: index + 1, address, tlsCa: faces.tlsCa }), childOptions),
  );
  options.signal.throwIfAborted();
  groups.push(agents);
  await Promise.all(agents.map((agent) => agent.start()));

  const token = readToken(join(coordinatorDir, "tokens", "admin"));
  const { tlsCa } = faces;
  leaveCredentials(options, { address, http, token, ...(tlsCa && { tlsCa }) });
  return { grpc: address, http, nats: nats.url, token, ...(tlsCa && { tlsCa }) };
}

interface LocalAgent {
  /** From 1; the agent and its folder are named after it. */
  readonly number: number;
  /** Of the coordinator. */
  readonly address: string;
  readonly tlsCa: string | undefined;
}

function localAgent(options: FarmOptions, { number, address, tlsCa }: LocalAgent): ChildSpec<true> {
  const { dataDir, slots } = options;
  const name = `agent-${number}`;
  const folder = join(dataDir, "agents", String(number));
  const args = [
    ...["agent", "--coordinator", address, "--token-file", join(dataDir, "coordinator", "tokens", "agent")],
    ...["--data", folder, "--name", name, "--hide", dataDir],
    // Not by the coordinator's address: that may change from one start to the next, and the farm is the same.
    ...["--credentials", join(folder, "credentials.json")],
    ...(tlsCa === undefined ? [] : ["--tls-ca", tlsCa]),
    ...(slots === undefined ? [] : ["--slots", String(slots)]),
    "--json",
  ];
  return {
    name,
    command: () => ({ ...ownCommand(options, args, agentFlags), env: agentEnvironment(process.env) }),
    readyFrom: (line) => (isReadyLine(line) ? true : undefined),
  };
}

/** How the farm's servers show themselves. */
interface Faces {
  readonly tls: ServerTls | undefined;
  /** By what name the parts on this machine reach them. */
  readonly localName: string;
  /** For whoever checks a certificate of the operator's; undefined with the farm's own CA, which tokens name. */
  readonly tlsCa: string | undefined;
  /** For the coordinator. */
  readonly flags: readonly string[];
}

async function facesOf({ host, advertise, tls: said = {}, dataDir }: FarmOptions): Promise<Faces> {
  const { insecure = false, tlsCert, tlsKey, tlsCa = "system" } = said;
  // Where the coordinator looks by itself, and what a backup of it holds.
  const folder = join(dataDir, "coordinator", "tls");
  const tls = await chooseServerTls({ host, advertise, insecure, tlsCert, tlsKey, folder });
  const flags = [
    ...(insecure ? ["--insecure"] : []),
    ...(advertise === undefined ? [] : ["--advertise", advertise]),
    ...(tlsCert === undefined || tlsKey === undefined ? [] : ["--tls-cert", tlsCert, "--tls-key", tlsKey]),
  ];
  if (tls === undefined || tls.authority !== undefined) {
    return { tls, localName: localHost(host), tlsCa: undefined, flags };
  }
  const localName = advertise ?? host;
  if (!isAnyAddress(localName)) return { tls, localName, tlsCa, flags };
  throw new MillraceError(
    "invalid_argument",
    `--tls-cert is for a name, and --host ${host} is none: give it with --advertise, as in --advertise farm.example.org`,
  );
}

interface StartedNats {
  /** As the coordinator reaches it. */
  readonly url: string;
  readonly port?: number;
  /** For the coordinator. */
  readonly flags: readonly string[];
}

async function startNats(
  options: FarmOptions,
  { tls, localName, tlsCa }: Faces,
  port: number,
  { groups, childOptions }: { readonly groups: Child<unknown>[][]; readonly childOptions: ChildOptions },
): Promise<StartedNats> {
  const { nats, host, advertise } = options;
  if (nats !== undefined) {
    const users = nats.credentialsFile === undefined ? [] : ["--nats-credentials", nats.credentialsFile];
    return { url: nats.url, flags: [...users, ...(nats.ca === undefined ? [] : ["--nats-ca", nats.ca])] };
  }
  const server = await findNatsServer(options.env);
  const spec = embeddedNats({ server, dataDir: options.dataDir, host, tls, port, env: options.env });
  const child = superviseChild(spec, childOptions);
  groups.push([child]);
  const taken = await child.start();
  const at = (name: string) => `${tls === undefined ? "nats" : "tls"}://${hostPort(name, taken)}`;
  // Both: a name for the outside need not lead anywhere from the inside.
  const told = [...new Set([advertise ?? host, host])].flatMap((name) => ["--agent-nats", at(name)]);
  const vouched = tlsCa === undefined ? [] : ["--nats-ca", tlsCa];
  return {
    url: at(localName),
    flags: ["--nats-credentials", spec.credentialsFile, ...told, ...vouched],
    port: taken,
  };
}

function ownCommand(options: FarmOptions, args: readonly string[], flags: readonly string[]): ChildCommand {
  const self = options.self(flags);
  return { file: self.file, args: [...self.args, ...args], channel: true };
}

/** Where the command line of the same user finds them, and that of whoever has the data folder. */
function leaveCredentials(options: FarmOptions, credentials: StoredCredentials): void {
  writePrivateFile(join(options.dataDir, "credentials.json"), `${JSON.stringify(credentials)}\n`);
  if (options.isPrivate === true) return;
  const file = userCredentialsFile(options.env);
  writePrivateFile(file, withFarm(file, credentials));
}

function readToken(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    throw from(error, "reading the token that the coordinator made at its start");
  }
}

/** The one line that `coordinator --json` prints when it serves; its log lines have a level. */
function readyCoordinator(line: string): { grpc: string; http: string } | undefined {
  const value = parseReadyLine(line);
  if (value === undefined || !("grpc" in value && "http" in value)) return undefined;
  const { grpc, http } = value;
  return typeof grpc === "string" && typeof http === "string" ? { grpc, http } : undefined;
}

function isReadyLine(line: string): boolean {
  return parseReadyLine(line) !== undefined;
}

function parseReadyLine(line: string): object | undefined {
  if (!line.startsWith("{")) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined; // Text that only begins like JSON.
  }
  return typeof value === "object" && value !== null && !("level" in value) ? value : undefined;
}

function portOf(address: string): number {
  const port = Number(address.slice(address.lastIndexOf(":") + 1));
  if (Number.isInteger(port) && port > 0) return port;
  throw new MillraceError("internal", `the coordinator serves at "${address}", which has no port`);
}

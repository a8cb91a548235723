import { readFileSync } from "node:fs";
import { join } from "node:path";
import { from, MillraceError } from "../../shared/errors.ts";
import { nestingOf } from "../../shared/nesting.ts";
import { lockFolder } from "../../shared/sqlite/folder-lock.ts";
import { type StoredCredentials, userCredentialsFile, withFarm } from "../credentials.ts";
import { type Child, type ChildOptions, superviseChild } from "./child.ts";
import type { ChildCommand } from "./child-process.ts";
import { hostPort, localHost } from "./host.ts";
import { embeddedNats, findNatsServer } from "./nats.ts";
import { choosePorts, keepPorts, type WantedPorts } from "./ports.ts";
import { writePrivateFile } from "./private-file.ts";

export interface FarmOptions {
  readonly dataDir: string;
  /** Local agents; 0 is none. */
  readonly agents: number;
  /** Of each agent; undefined leaves it to the agent. */
  readonly slots: number | undefined;
  readonly host: string;
  readonly ports: WantedPorts;
  /** An external NATS instead of the embedded one, and the file with its credentials. */
  readonly nats: { readonly url: string; readonly credentialsFile: string | undefined } | undefined;
  /** How this program starts itself: the Node, and the arguments before the subcommand. */
  readonly self: { readonly file: string; readonly args: readonly string[] };
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What else the coordinator is told. */
  readonly coordinatorArgs?: readonly string[];
  /** The user's command line does not learn of this farm. */
  readonly isPrivate?: boolean;
  /** Its abort ends a start that is under way. */
  readonly signal: AbortSignal;
  report: ChildOptions["report"];
}

/** Of Node, as in bin/millrace: a small young generation makes an agent 50 MB smaller, and no slower. */
const agentFlags = ["--max-semi-space-size=1"];

/** A farm on this machine. */
export interface Farm {
  readonly grpc: string;
  readonly http: string;
  readonly nats: string;
  /** The first admin's. */
  readonly token: string;
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
    for (let group = groups.pop(); group !== undefined; group = groups.pop()) {
      await Promise.all(group.map((child) => child.stop()));
    }
    lock.release();
  };
  const kill = () => {
    for (const child of groups.flat()) child.kill();
  };
  options.signal.addEventListener("abort", kill, { once: true });
  try {
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
  const nats = await startNats(options, chosen.nats, groups, childOptions);

  const coordinatorDir = join(dataDir, "coordinator");
  // Learned at the first start and kept: a restarted coordinator must be found where it was.
  let { grpc: grpcPort, http: httpPort } = chosen;
  const coordinator = superviseChild(
    {
      name: "coordinator",
      command: () =>
        ownCommand(options, [
          ...["coordinator", "--data", coordinatorDir, "--host", host],
          ...["--grpc-port", String(grpcPort), "--http-port", String(httpPort), "--nats", nats.url],
          ...(nats.credentialsFile === undefined ? [] : ["--nats-credentials", nats.credentialsFile]),
          ...(options.coordinatorArgs ?? []),
          "--json",
        ]),
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

  const address = hostPort(localHost(host), grpcPort);
  const http = `http://${hostPort(localHost(host), httpPort)}`;
  const agents = Array.from({ length: options.agents }, (_, index) => {
    const name = `agent-${index + 1}`;
    return superviseChild<true>(
      {
        name,
        command: () =>
          ownCommand(
            options,
            [
              ...["agent", "--coordinator", address, "--token-file", join(coordinatorDir, "tokens", "agent")],
              ...["--data", join(dataDir, "agents", String(index + 1)), "--name", name, "--hide", dataDir],
              ...(options.slots === undefined ? [] : ["--slots", String(options.slots)]),
              "--json",
            ],
            agentFlags,
          ),
        readyFrom: (line) => (isReadyLine(line) ? true : undefined),
      },
      childOptions,
    );
  });
  options.signal.throwIfAborted();
  groups.push(agents);
  await Promise.all(agents.map((agent) => agent.start()));

  const token = readToken(join(coordinatorDir, "tokens", "admin"));
  leaveCredentials(options, { address, http, token });
  return { grpc: address, http, nats: nats.url, token };
}

async function startNats(
  options: FarmOptions,
  port: number,
  groups: Child<unknown>[][],
  childOptions: ChildOptions,
): Promise<{ url: string; credentialsFile: string | undefined; port?: number }> {
  if (options.nats !== undefined) return options.nats;
  const server = await findNatsServer(options.env);
  const spec = embeddedNats({ server, dataDir: options.dataDir, port, env: options.env });
  const child = superviseChild(spec, childOptions);
  groups.push([child]);
  const taken = await child.start();
  return { url: `nats://127.0.0.1:${taken}`, credentialsFile: spec.credentialsFile, port: taken };
}

function ownCommand(options: FarmOptions, args: readonly string[], flags: readonly string[] = []): ChildCommand {
  return { file: options.self.file, args: [...flags, ...options.self.args, ...args], channel: true };
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

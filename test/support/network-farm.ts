import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { natsConfig } from "../../cli/up/nats.ts";
import { natsUsersText } from "../../shared/bus/nats-users.ts";
import { makeFolder } from "../../shared/make-folder.ts";
import { writePrivateFile } from "../../shared/private-file.ts";
import { openAuthority } from "../../shared/tls/authority.ts";
import type { ServerTls } from "../../shared/tls/server-tls.ts";
import { authorityTrust, type Trust } from "../../shared/tls/trust.ts";
import { type CliResult, cliEnvironment, startCli } from "./farm.ts";
import { createNetwork, type Host, type Network } from "./network.ts";
import { type HostProgram, startOn } from "./network-program.ts";
import { millrace } from "./program.ts";
import { startProxy, type TcpProxy } from "./tcp-proxy.ts";

const ports = { grpc: 7070, http: 7080, nats: 7422 } as const;

/** An agent on a machine of its own. */
export interface FarmAgent {
  readonly name: string;
  readonly host: Host;
  /** The agent's data folder. */
  readonly data: string;
  /** Its present life. */
  program(): HostProgram;
  /** A new life, after the last one has ended. */
  start(): Promise<void>;
  /** Between it and the coordinator, where they were asked for. */
  readonly grpc: TcpProxy | undefined;
  readonly nats: TcpProxy | undefined;
}

/**
 * A farm on several machines: the coordinator with its nats-server on one, each agent on its own. As `millrace up` would
 * have it: TLS with the farm's own CA on every port, and agents that have enrolled and have users of the bus to themselves.
 */
export interface NetworkFarm {
  /** Where this process reaches the coordinator's gRPC: a Unix socket, since it is on no network with it. */
  readonly grpc: string;
  readonly trust: Trust;
  /** An admin's. */
  readonly token: string;
  readonly dir: string;
  readonly agents: readonly FarmAgent[];
  /** Its present life. */
  coordinator(): HostProgram;
  /** A new life, after the last one has ended. */
  startCoordinator(): Promise<void>;
  nats(): HostProgram;
  startNats(): Promise<void>;
  /** The command line, on the coordinator's machine. */
  cli(...args: string[]): Promise<CliResult>;
  /** Ends everything, the machines included, and takes the folder away. Gives how agents and coordinator ended that still ran. */
  remove(): Promise<readonly (number | null)[]>;
}

export interface NetworkFarmOptions {
  readonly agents: number;
  /** Of each agent; default 1. */
  readonly slots?: number;
  /** Default the product's. */
  readonly leaseS?: number;
  /** Whether what agents say goes through proxies. */
  readonly proxies?: boolean;
  /** What each agent keeps of output that waits; default the product's. */
  readonly spoolBytes?: number;
  /** The data folder of an agent, by its number from 1; default one in the farm's. */
  readonly data?: (agent: number) => string;
}

/** Undefined where this user may make no network. Whoever starts it calls `remove`. */
export async function startNetworkFarm(options: NetworkFarmOptions): Promise<NetworkFarm | undefined> {
  const network = await createNetwork();
  if (network === undefined) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "millrace-network-"));
  const parts: Parts = {
    ...{ options, network, dir },
    env: cliEnvironment(dir),
    proxies: [],
    programs: [],
    servers: [],
  };
  try {
    const center = await startCenter(parts);
    const numbers = Array.from({ length: options.agents }, (_, index) => index + 1);
    const agents = await Promise.all(numbers.map((number) => startAgent(parts, center.host, number)));
    const { host, token, ...rest } = center;
    return {
      ...{ token, dir, agents, ...rest, remove: () => remove(parts) },
      cli: (...args) => {
        const env = { ...parts.env, MILLRACE_ADDRESS: `${host.address}:${ports.grpc}`, MILLRACE_TOKEN: token };
        const [program, all] = host.command(millrace, args);
        return startCli(all, env, program).result;
      },
    };
  } catch (error) {
    await remove(parts);
    throw error;
  }
}

interface Parts {
  readonly options: NetworkFarmOptions;
  readonly network: Network;
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly proxies: TcpProxy[];
  /** Of Millrace, in the order of their start. */
  readonly programs: HostProgram[];
  readonly servers: HostProgram[];
}

async function remove({ network, dir, proxies, programs, servers }: Parts): Promise<(number | null)[]> {
  const running = programs.filter(({ isRunning }) => isRunning());
  for (const { pid } of running) process.kill(pid, "SIGCONT");
  const [coordinators, agents] = [true, false].map((wanted) =>
    running.filter(({ args }) => args.includes("coordinator") === wanted),
  );
  const statuses: (number | null)[] = [];
  for (const group of [agents ?? [], coordinators ?? []])
    statuses.push(...(await Promise.all(group.map((one) => one.stop()))));
  for (const server of servers) await server.kill();
  for (const proxy of proxies) await proxy.close();
  await network.remove();
  rmSync(dir, { recursive: true, force: true });
  return statuses;
}

/** The coordinator and its nats-server. */
async function startCenter(parts: Parts) {
  const { network, dir, options, env } = parts;
  const host = await network.host();
  const data = join(dir, "coordinator");
  const folder = join(data, "tls");
  makeFolder(folder);
  // The nats-server needs a certificate before the coordinator has started, which finds its CA made.
  const tls = await openAuthority({ folder, names: [host.address], nowMs: Date.now() });
  const files = writeNatsFiles(dir, tls);
  const args = [
    ...["coordinator", "--data", data, "--host", "0.0.0.0", "--advertise", host.address],
    ...["--grpc-port", String(ports.grpc), "--http-port", String(ports.http)],
    ...["--nats", `tls://${host.address}:${ports.nats}`, "--nats-credentials", files.credentials],
    ...(options.leaseS === undefined ? [] : ["--lease", String(options.leaseS)]),
    "--json",
  ];
  let nats: HostProgram;
  let coordinator: HostProgram;
  const startNats = async () => {
    nats = await startOn(host, ["nats-server", "-c", files.config], { env, ready: /Server is ready/ });
    parts.servers.push(nats);
  };
  const startCoordinator = async () => {
    coordinator = await startOn(host, [millrace, ...args], { env, ready: /^\{"grpc"/ });
    parts.programs.push(coordinator);
  };
  await startNats();
  await startCoordinator();
  const at = `${host.address}:${ports.grpc}`;
  const socket = join(dir, at); // an address with a port also to those who take it apart
  parts.proxies.push(await startProxy(host, socket, at));
  return {
    ...{ host, startNats, startCoordinator, grpc: `unix:${socket}` },
    trust: authorityTrust(tls.authority.caPem),
    token: readFileSync(join(data, "tokens/admin"), "utf8").trim(),
    nats: () => nats,
    coordinator: () => coordinator,
  };
}

async function startAgent(parts: Parts, center: Host, number: number): Promise<FarmAgent> {
  const { network, dir, options, env, proxies, programs } = parts;
  const host = await network.host();
  const name = `agent-${number}`;
  const data = options.data?.(number) ?? join(dir, name);
  let between: { grpc?: TcpProxy; nats?: TcpProxy } = {};
  if (options.proxies === true) {
    // The agent's machine takes the coordinator's address for its own; a proxy there knows another way to it.
    const behind = host.wayTo(center);
    host.claim(center.address);
    const proxy = (port: number) => startProxy(host, `${center.address}:${port}`, `${behind}:${port}`);
    between = { grpc: await proxy(ports.grpc), nats: await proxy(ports.nats) };
    proxies.push(...Object.values(between));
  }
  const args = [
    ...["agent", "--coordinator", `${center.address}:${ports.grpc}`],
    ...["--token-file", join(dir, "coordinator/tokens/agent"), "--data", data, "--name", name, "--hide", dir],
    ...["--slots", String(options.slots ?? 1), "--label", `machine=${number}`, "--json"],
    ...(options.spoolBytes === undefined ? [] : ["--spool-bytes", String(options.spoolBytes)]),
  ];
  let program: HostProgram;
  const start = async () => {
    program = await startOn(host, [millrace, ...args], { env, ready: /"state":"online"/ });
    programs.push(program);
  };
  await start();
  return { name, host, data, program: () => program, start, grpc: between.grpc, nats: between.nats };
}

function writeNatsFiles(dir: string, tls: ServerTls) {
  const coordinator = { user: "coordinator", password: "c" };
  const own = { monitor: { user: "monitor", password: "m" }, pidFile: join(dir, "nats.pid") };
  const managed = { ...own, usersFile: join(dir, "users.conf") };
  const config = join(dir, "nats.conf");
  const credentials = join(dir, "nats.json");
  writePrivateFile(managed.usersFile, natsUsersText({ coordinator, agents: [] }));
  writeFileSync(config, natsConfig({ host: "0.0.0.0", port: ports.nats, tls }, { coordinator, managed }));
  writeFileSync(credentials, JSON.stringify({ coordinator, managed }));
  return { config, credentials };
}

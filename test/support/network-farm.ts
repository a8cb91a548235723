import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { cliEnvironment } from "./farm.ts";
import { createNetwork, type Host } from "./network.ts";
import { startProxy, type TcpProxy } from "./tcp-proxy.ts";

const millrace = resolve(import.meta.dirname, "../../bin/millrace");
const ports = { grpc: 7070, http: 7080, nats: 7422 } as const;

/** A program of the farm on its machine. */
export interface FarmProgram {
  /** Of the process that can be stopped and killed. */
  readonly pid: number;
  /** All that it said so far. */
  said(): string;
  /** kill -9, resolved when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with its exit status. */
  stop(): Promise<number | null>;
}

/** An agent on a machine of its own. */
export interface FarmAgent {
  readonly name: string;
  readonly host: Host;
  /** The agent's data folder. */
  readonly data: string;
  /** Of its present life. */
  program(): FarmProgram;
  /** A new life, after the last one has ended. */
  start(): Promise<void>;
  /** Between it and the coordinator, where they were asked for. */
  readonly grpc: TcpProxy | undefined;
  readonly nats: TcpProxy | undefined;
}

/** A farm on several machines. */
export interface NetworkFarm {
  /** Where this process reaches the coordinator's gRPC: a Unix socket, since it is on no network with it. */
  readonly grpc: string;
  /** An admin's. */
  readonly token: string;
  readonly dir: string;
  readonly host: Host;
  readonly agents: readonly FarmAgent[];
  coordinator(): FarmProgram;
  startCoordinator(): Promise<void>;
  killNats(): Promise<void>;
  startNats(): Promise<void>;
  /** The command line, on the coordinator's machine. */
  cli(...args: string[]): Promise<{ status: number | null; stdout: string; stderr: string }>;
  /** Ends everything, the machines included, and takes the folder away. Gives how each agent and the coordinator ended that still ran. */
  remove(): Promise<readonly (number | null)[]>;
}

export interface NetworkFarmOptions {
  readonly agents: number;
  readonly slots?: number;
  readonly leaseS?: number;
  /** Whether what agents say goes through proxies. */
  readonly proxies?: boolean;
  /** Added to the environment of agents. */
  readonly env?: Readonly<Record<string, string>>;
  /** More arguments for an agent, by its number from 1. */
  readonly args?: (agent: number, dir: string) => readonly string[];
}

/** Undefined where this user may make no network. Whoever starts it calls `remove`. */
export async function startNetworkFarm(options: NetworkFarmOptions): Promise<NetworkFarm | undefined> {
  const network = await createNetwork();
  if (network === undefined) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "millrace-network-"));
  const env = { ...cliEnvironment(dir), ...options.env };
  /** Of Millrace, in the order in which they end. */
  const programs = { agents: new Set<FarmProgram>(), coordinators: new Set<FarmProgram>() };
  let nats: FarmProgram | undefined;
  const proxies: TcpProxy[] = [];
  const run = async (host: Host, args: readonly string[], ready: RegExp): Promise<FarmProgram> => {
    const [file = "", ...rest] = args;
    return await startProgram(host.spawn(file, rest, { env, stdio: ["ignore", "pipe", "pipe"] }), ready);
  };
  const proxy = async (...[host, listen, target]: Parameters<typeof startProxy>) => {
    const started = await startProxy(host, listen, target);
    proxies.push(started);
    return started;
  };

  async function remove() {
    const statuses: (number | null)[] = [];
    for (const group of [programs.agents, programs.coordinators]) {
      const running = [...group].filter(({ pid }) => isAlive(pid));
      for (const { pid } of running) process.kill(pid, "SIGCONT");
      statuses.push(...(await Promise.all(running.map((program) => program.stop()))));
    }
    await nats?.kill();
    for (const one of proxies) await one.close();
    await network?.remove();
    rmSync(dir, { recursive: true, force: true });
    return statuses;
  }

  try {
    const host = await network.host();
    const { address } = host;
    const files = writeNatsFiles(dir);
    let coordinator: FarmProgram;
    const startNats = async () => {
      nats = await run(host, ["nats-server", "-c", files.config], /Server is ready/);
    };
    const data = join(dir, "coordinator");
    const startCoordinator = async () => {
      const at = ["--host", "0.0.0.0", "--grpc-port", String(ports.grpc), "--http-port", String(ports.http)];
      const bus = ["--nats", `nats://${address}:${ports.nats}`, "--nats-credentials", files.credentials];
      const lease = options.leaseS === undefined ? [] : ["--lease", String(options.leaseS)];
      const args = ["coordinator", "--data", data, ...at, ...bus, ...lease, "--json"];
      coordinator = await run(host, [millrace, ...args], /^\{"grpc"/);
      programs.coordinators.add(coordinator);
    };
    await startNats();
    await startCoordinator();
    const socket = join(dir, "grpc.sock");
    await proxy(host, socket, `127.0.0.1:${ports.grpc}`);
    const token = readFileSync(join(data, "tokens/admin"), "utf8").trim();

    const startOne = async (number: number): Promise<FarmAgent> => {
      const machine = await network.host();
      const name = `agent-${number}`;
      const folder = join(dir, name);
      const between = { grpc: undefined, nats: undefined } as {
        grpc: TcpProxy | undefined;
        nats: TcpProxy | undefined;
      };
      if (options.proxies === true) {
        // The agent's machine takes the coordinator's address for its own; a proxy there knows another way to it.
        const behind = machine.wayTo(host);
        machine.claim(address);
        between.grpc = await proxy(machine, `${address}:${ports.grpc}`, `${behind}:${ports.grpc}`);
        between.nats = await proxy(machine, `${address}:${ports.nats}`, `${behind}:${ports.nats}`);
      }
      const args = [
        ...["agent", "--coordinator", `${address}:${ports.grpc}`, "--token-file", join(data, "tokens/agent")],
        ...["--data", folder, "--name", name, "--hide", dir, "--slots", String(options.slots ?? 2), "--json"],
        ...(options.args?.(number, dir) ?? []),
      ];
      let program: FarmProgram;
      const start = async () => {
        program = await run(machine, [millrace, ...args], /"state":"online"/);
        programs.agents.add(program);
      };
      await start();
      return { name, host: machine, data: folder, program: () => program, start, ...between };
    };
    const agents = await Promise.all(Array.from({ length: options.agents }, (_, index) => startOne(index + 1)));
    return {
      ...{ grpc: `unix:${socket}`, token, dir, host, agents, startCoordinator, startNats, remove },
      coordinator: () => coordinator,
      killNats: async () => await nats?.kill(),
      async cli(...args) {
        const farm = { MILLRACE_ADDRESS: `127.0.0.1:${ports.grpc}`, MILLRACE_TOKEN: token };
        const child = spawn(...host.command(millrace, args), {
          env: { ...env, ...farm },
          stdio: ["ignore", "pipe", "pipe"],
        });
        const out = { stdout: "", stderr: "" };
        child.stdout.on("data", (text) => (out.stdout += text));
        child.stderr.on("data", (text) => (out.stderr += text));
        const [status] = await once(child, "close");
        return { status, ...out };
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function startProgram(child: ChildProcess, ready: RegExp): Promise<FarmProgram> {
  let said = "";
  const ended = once(child, "exit").then(([status]) => status as number | null);
  const isReady = Promise.withResolvers<void>();
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on("line", (line) => {
      said += `${line}\n`;
      if (ready.test(line)) isReady.resolve();
    });
  }
  void ended.then((status) => isReady.reject(new Error(`${child.spawnargs.join(" ")} ended with ${status}:\n${said}`)));
  await isReady.promise;
  return {
    pid: child.pid ?? 0,
    said: () => said,
    async kill() {
      child.kill("SIGKILL");
      await ended;
    },
    stop() {
      child.kill("SIGTERM");
      return ended;
    },
  };
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function writeNatsFiles(dir: string) {
  const users = { coordinator: { user: "coordinator", password: "c" }, agent: { user: "agent", password: "a" } };
  const config = join(dir, "nats.conf");
  const credentials = join(dir, "nats.json");
  const list = Object.values(users).map(({ user, password }) => `{ user: "${user}", password: "${password}" }`);
  writeFileSync(config, `listen: "0.0.0.0:${ports.nats}"\nauthorization { users: [${list.join(", ")}] }\n`);
  writeFileSync(credentials, JSON.stringify(users));
  return { config, credentials };
}

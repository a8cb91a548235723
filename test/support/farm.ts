import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";
import { exitOf } from "./exit-of.ts";
import { millrace } from "./program.ts";
import { tempDir } from "./temp-dir.ts";

/** What a call of the command line came to. */
export interface CliResult {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A call of the command line that goes on. */
export interface RunningCli {
  readonly process: ChildProcess;
  /** Resolves with the first line of standard output or error that matches. Throws when the call ends without one. */
  line(pattern: RegExp): Promise<string>;
  readonly result: Promise<CliResult>;
}

/** A real farm of a test's own, started by `millrace up`. */
export interface TestFarm {
  readonly grpc: string;
  readonly http: string;
  readonly token: string;
  readonly dataDir: string;
  /** Process id of the supervisor. */
  readonly pid: number;
  /** Calls the command line against this farm. */
  cli(args: readonly string[]): Promise<CliResult>;
  startCli(args: readonly string[]): RunningCli;
  /** Submits a folder and gives the one JSON object that comes at the end, with the exit status. */
  run(dir: string, ...args: string[]): Promise<RunResult>;
  /** One entry for each process that agents have started for a task so far. */
  processStarts(): string[];
  /** Resolves with the next line on the supervisor's standard error that matches. */
  problem(pattern: RegExp): Promise<string>;
  /** SIGTERM; gives the supervisor's exit status. The folder stays until `remove`. */
  stop(): Promise<number | null>;
  /** kill -9 of the supervisor alone. */
  kill(): Promise<void>;
  /** Stops it where it still runs, and takes the folder away. */
  remove(): Promise<void>;
}

/** What `run --json` prints. */
export interface RunResult {
  readonly exitStatus: number | null;
  readonly run: string;
  readonly status: string;
  readonly durationMs: number;
  readonly tasks: readonly {
    readonly name: string;
    readonly stage: string;
    readonly status: string;
    readonly cached: boolean;
    readonly attempts: number;
    readonly agent: string | null;
    readonly durationMs: number;
    readonly exit: number | null;
    readonly cpuMs: number | null;
    readonly peakMemoryBytes: number | null;
    readonly sandbox: string | null;
    readonly containment: string | null;
    readonly ending: string;
  }[];
}

export interface FarmOptions {
  readonly agents: number;
  /** Of each agent. */
  readonly slots?: number;
  /** A folder that an earlier farm left; default a new one. */
  readonly dir?: string;
  /** Of `up`, beside those that every test's farm has. */
  readonly flags?: readonly string[];
  /** Added to the environment of all its processes. */
  readonly env?: Readonly<Record<string, string>>;
  /** The `millrace` that is started; default that of program.ts. */
  readonly program?: string;
}

/** Starts a farm on free ports in a folder of its own. Whoever starts it calls `remove`. */
export async function startFarm(options: FarmOptions): Promise<TestFarm> {
  const dir = options.dir ?? mkdtempSync(join(tmpdir(), "millrace-farm-"));
  const dataDir = join(dir, "data");
  const env = { ...cliEnvironment(dir), ...options.env };
  const { program, flags = [] } = options;
  const slots = options.slots === undefined ? [] : ["--slots", String(options.slots)];
  const anyPort = ["--grpc-port", "0", "--http-port", "0", "--nats-port", "0"];
  const up = startCli(
    ["up", "--data", dataDir, "--agents", String(options.agents), ...slots, ...anyPort, ...flags, "--json"],
    env,
    program,
  );
  const ended = exitOf(up.process).then(([status]) => status);
  const ready = await up.line(/^\{"grpc"/).catch(async (error: unknown) => {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  });
  const { grpc, http, pid } = JSON.parse(ready) as { grpc: string; http: string; pid: number };
  const { token } = JSON.parse(readFileSync(join(dataDir, "credentials.json"), "utf8")) as { token: string };

  const cli = (args: readonly string[]) => startCli(args, env, program).result;
  const stop = () => {
    up.process.kill("SIGTERM");
    return ended;
  };
  return {
    ...{ grpc, http, token, dataDir, pid, cli, stop },
    startCli: (args) => startCli(args, env, program),
    async run(source, ...args) {
      const result = await cli(["run", source, "--json", ...args]);
      if (result.stdout === "") throw new Error(`run gave no JSON, status ${result.status}: ${result.stderr}`);
      return { ...(JSON.parse(result.stdout) as RunResult), exitStatus: result.status };
    },
    processStarts: () =>
      globSync("agents/**/process-starts.log", { cwd: dataDir })
        .flatMap((file) => readFileSync(join(dataDir, file), "utf8").split("\n"))
        .filter((line) => line !== ""),
    problem: (pattern) => up.line(pattern),
    async kill() {
      process.kill(pid, "SIGKILL");
      await ended;
    },
    async remove() {
      await stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

/** Where a farm's command line looks for its coordinator and keeps its caches: nowhere but in the folder of the test. */
export function cliEnvironment(dir: string): NodeJS.ProcessEnv {
  const { MILLRACE_ADDRESS: _address, MILLRACE_TOKEN: _token, MILLRACE_DATA: _data, ...env } = process.env;
  return { ...env, XDG_CONFIG_HOME: join(dir, "config"), XDG_CACHE_HOME: join(dir, "cache"), NO_COLOR: "1" };
}

/** Starts the command line as a person would, from outside. */
export function startCli(args: readonly string[], env: NodeJS.ProcessEnv, program = millrace): RunningCli {
  const child = spawn(program, args, { env, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  const waiting = new Set<{ pattern: RegExp; resolve(line: string): void; reject(error: Error): void }>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      for (const waiter of waiting) {
        if (!waiter.pattern.test(line)) continue;
        waiting.delete(waiter);
        waiter.resolve(line);
      }
    });
  }
  const result = Promise.all([text(child.stdout), text(child.stderr), once(child, "close")]).then(
    ([stdout, stderr, [status]]): CliResult => {
      for (const { pattern, reject } of waiting) reject(new Error(`ended without ${pattern}:\n${lines.join("\n")}`));
      return { status: status as number | null, stdout, stderr };
    },
  );
  return {
    process: child,
    result,
    line(pattern) {
      const said = lines.find((line) => pattern.test(line));
      if (said !== undefined) return Promise.resolve(said);
      return new Promise((resolve, reject) => void waiting.add({ pattern, resolve, reject }));
    },
  };
}

/** A folder with these files, gone after the test. */
export function project(files: Readonly<Record<string, string>>): string {
  const dir = tempDir();
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, path)), { recursive: true });
    writeFileSync(join(dir, path), content);
  }
  return dir;
}

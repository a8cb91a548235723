import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "../bench.ts";
import { runProgram } from "../run-program.ts";
import { peerProgram, peersFolder } from "./peers.ts";

/** What a buildbot master with two workers of four builds each does on this machine. */
export interface BuildbotFigures {
  /** From the trigger inside the master to the time that the step's own process tells, one build at a time. */
  readonly dispatchMs: readonly number[];
  /** No-op builds of one step, all triggered at once. */
  readonly buildsPerSecond: number;
}

const bin = "buildbot/bin";
/** More than it needs by far; past it the bench is void. */
const patienceMs = 240_000;

/** Undefined when buildbot is not installed. */
export async function measureBuildbot(builds: number): Promise<BuildbotFigures | undefined> {
  if (peerProgram("twistd", bin) === undefined || peerProgram("buildbot-worker", bin) === undefined) return undefined;
  const dir = mkdtempSync(join(tmpdir(), "millrace-bench-"));
  const program = (name: string) => join(peersFolder(), bin, name);
  const port = await freePort();
  const result = join(dir, "result.json");
  const starts = join(dir, "starts");
  const env = {
    ...process.env,
    ...{ BENCH_BUILDS: String(builds), BENCH_PORT: String(port), BENCH_RESULT: result, BENCH_STARTS: starts },
  };
  const running: ChildProcess[] = [];
  const start = (name: string) => {
    const args = ["--nodaemon", "--pidfile=", "--python=buildbot.tac"];
    const child = spawn(program("twistd"), args, { cwd: join(dir, name), env, stdio: "ignore" });
    running.push(child);
    return child;
  };
  try {
    await runProgram(program("buildbot"), ["create-master", "-q", "master"], { cwd: dir, env });
    copyFileSync(join(import.meta.dirname, "buildbot-master.cfg"), join(dir, "master/master.cfg"));
    for (const name of ["bench-1", "bench-2"]) {
      const args = ["create-worker", "-q", name, `127.0.0.1:${port}`, name, "bench"];
      await runProgram(program("buildbot-worker"), args, { cwd: dir, env });
      start(name);
    }
    const master = start("master");
    await once(master, "exit", { signal: AbortSignal.timeout(patienceMs) });
    must(existsSync(result), "buildbot ended without a result");
    return figuresOf(JSON.parse(readFileSync(result, "utf8")) as Result, readFileSync(starts, "utf8"), builds);
  } finally {
    await Promise.all(running.map(end));
    rmSync(dir, { recursive: true, force: true });
  }
}

interface Result {
  readonly problem?: string;
  /** In seconds. */
  readonly triggered?: readonly number[];
  readonly burstSeconds?: number;
}

/** The first start is that of the build that warms up. */
function figuresOf(
  { problem, triggered = [], burstSeconds = 0 }: Result,
  starts: string,
  builds: number,
): BuildbotFigures {
  must(problem === undefined, `buildbot: ${problem}`);
  const startedMs = starts
    .trim()
    .split("\n")
    .map((ns) => Number(ns) / 1e6);
  must(startedMs.length === 1 + 2 * builds, `buildbot started ${startedMs.length} steps`);
  const dispatchMs = triggered.map((seconds, index) => (startedMs[index + 1] ?? Number.NaN) - seconds * 1000);
  return { dispatchMs, buildsPerSecond: builds / burstSeconds };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}

import { spawn } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute } from "node:path";
import { z } from "zod";
import type { Clock } from "../../../shared/clock.ts";
import { from, MillraceError } from "../../../shared/errors.ts";
import { poolLimits } from "../../../shared/limits/pools.ts";
import { limits } from "../../../shared/limits.ts";
import type { PoolProvider } from "./pool-provider.ts";

export interface ExecOptions {
  readonly pool: string;
  /** An absolute path and its first arguments. */
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  /** One call; default `poolLimits.commandMs`. */
  readonly timeoutMs?: number;
}

const listing = z.object({ agents: z.array(z.string().regex(/^[a-z0-9-]{1,64}$/)) });

/**
 * Asks a program. What it is told and what it answers is a contract with strangers; it stands in docs/guides/pools.md and
 * only grows.
 */
export function execProvider(options: ExecOptions): PoolProvider {
  return {
    async add(order, signal) {
      const { agents } = order;
      await call(options, { words: ["add", String(agents.length)], input: order, signal });
    },
    async remove(ids, signal) {
      await call(options, { words: ["remove", ...ids], input: { pool: options.pool, agents: ids }, signal });
    },
    async list(signal) {
      const output = await call(options, { words: ["list"], input: { pool: options.pool }, signal });
      return parseListing(output, options.command);
    },
    async close() {
      // What it has started goes on: the next start of the coordinator asks for it.
    },
  };
}

/** @throws MillraceError invalid_argument when there is no such program here */
export function requireProgram([file = ""]: readonly string[]): void {
  const wrong = (why: string) =>
    new MillraceError("invalid_argument", `the pool's command ${JSON.stringify(file)} ${why}`);
  if (!isAbsolute(file)) throw wrong("is not an absolute path");
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) {
    throw wrong("is no file on the coordinator's machine");
  }
  try {
    accessSync(file, constants.X_OK);
  } catch (error) {
    throw new MillraceError("invalid_argument", wrong("cannot be executed by the coordinator").message, {
      cause: error,
    });
  }
}

interface Call {
  readonly words: readonly string[];
  /** Goes to its standard input as JSON. */
  readonly input: object;
  readonly signal: AbortSignal;
}

/** What it printed. Throws with the last line that it said on standard error when it failed. */
async function call(options: ExecOptions, { words, input, signal }: Call): Promise<string> {
  signal.throwIfAborted();
  const [file = "", ...first] = options.command;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (why: string, cause?: unknown) =>
    reject(new MillraceError("unavailable", `${file} ${words[0]}: ${why}`, { cause }));
  const child = spawn(file, [...first, ...words], {
    env: { ...options.env, MILLRACE_POOL: options.pool },
    stdio: ["pipe", "pipe", "pipe"],
    detached: true, // a process group of its own, so that a kill reaches all that it started
  });
  const kill = (why: string) => {
    fail(why);
    if (child.pid !== undefined) killGroup(child.pid);
  };
  const output = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => {
      output[stream] += text;
      if (output[stream].length > poolLimits.commandOutputBytes)
        kill(`printed more than ${poolLimits.commandOutputBytes} bytes`);
    });
  }
  const timeoutMs = options.timeoutMs ?? poolLimits.commandMs;
  const cancelTimer = options.clock.after(timeoutMs, () => kill(`did not end within ${timeoutMs / 1000} s`));
  const onAbort = () => kill("the coordinator stops");
  signal.addEventListener("abort", onAbort, { once: true });
  // One that reads nothing, or has ended, closes the pipe; its exit status says what that means.
  child.stdin.on("error", () => undefined);
  child.stdin.end(`${JSON.stringify(input)}\n`);
  child.once("error", (error) => fail(error.message, error));
  child.once("exit", (code, ended) => {
    const conclude = () => {
      if (code === 0) return resolve(output.stdout);
      const said = output.stderr.trim().split("\n").at(-1)?.slice(0, 500) ?? "";
      const how = ended === null ? `exited with ${code}` : `was ended by ${ended}`;
      return fail(said === "" ? how : `${how}: ${said}`);
    };
    // Its last words come until `close`; but what it has left in the background may hold the pipes open for ever.
    const cancel = options.clock.after(limits.childLastLinesMs, conclude);
    child.once("close", () => {
      cancel();
      conclude();
    });
  });
  try {
    return await promise;
  } finally {
    cancelTimer();
    signal.removeEventListener("abort", onAbort);
    for (const stream of [child.stdout, child.stderr]) stream.destroy();
  }
}

function parseListing(output: string, [file = ""]: readonly string[]): readonly string[] {
  const wrong = (cause?: unknown) =>
    new MillraceError("invalid_argument", `${file} list: expected {"agents": ["id", …]}, got ${output.slice(0, 200)}`, {
      cause,
    });
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch (error) {
    throw wrong(error);
  }
  const parsed = listing.safeParse(value);
  if (!parsed.success) throw wrong(parsed.error);
  return parsed.data.agents;
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    const { code } = from(error);
    if (code !== "unknown") throw error; // ESRCH: all of it has ended already
  }
}

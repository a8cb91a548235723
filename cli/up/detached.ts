import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { MillraceError } from "../../shared/errors.ts";
import type { OwnProgram } from "../../shared/single-file.ts";
import { exitStatus } from "../exit-status.ts";

/** What a farm in the background has to say, and its end if that was a bad one. */
export function detachedLog(dataDir: string): string {
  return join(dataDir, "logs", "up.log");
}

export interface DetachedUp {
  /** This program. */
  readonly self: OwnProgram;
  /** Of `millrace up`; paths are absolute. */
  readonly args: readonly string[];
  /** Exists. */
  readonly dataDir: string;
  /** Its abort stops what was started so far. */
  readonly signal: AbortSignal;
}

/**
 * Starts `millrace up` in a session of its own, where neither Ctrl-C nor the end of a terminal reaches it, and gives the line
 * that it prints when everything serves.
 * @throws MillraceError with what it said, when it ends before that; canceled by the signal
 */
export async function startDetached({ self, args, dataDir, signal }: DetachedUp): Promise<string> {
  const logFile = detachedLog(dataDir);
  mkdirSync(dirname(logFile), { recursive: true, mode: 0o700 });
  const log = openSync(logFile, "a", 0o600);
  const before = statSync(logFile).size;
  const child = spawn(self.file, [...self.args, "up", ...args, "--json", "--log-file", logFile], {
    cwd: dataDir, // whose end would be its own; the folder of the caller may be gone tomorrow
    detached: true,
    env: absoluteVariables(process.env),
    stdio: ["ignore", "pipe", log],
  });
  closeSync(log);
  const { stdout } = child;
  if (stdout === null) throw new MillraceError("internal", "a farm in the background was started without a pipe");
  const stop = () => void child.kill("SIGTERM");
  signal.addEventListener("abort", stop, { once: true });
  const ended = once(child, "exit");
  try {
    const ready = await Promise.race([firstLine(stdout), ended.then(() => undefined)]);
    if (ready !== undefined && !signal.aborted) return ready;
    const [status, by] = (await ended) as [number | null, NodeJS.Signals | null];
    signal.throwIfAborted();
    const said = readFileSync(logFile)
      .subarray(before)
      .toString("utf8")
      .trim()
      .replace(/^millrace: /, "");
    const how =
      said === ""
        ? `the farm did not come up: its process ${by === null ? `exited with ${status}` : `was ended by ${by}`}`
        : said;
    throw new MillraceError(
      status === exitStatus.usage ? "invalid_argument" : "unavailable",
      `${how}\nIts log: ${logFile}`,
    );
  } finally {
    signal.removeEventListener("abort", stop);
    stdout.destroy();
    child.unref();
  }
}

/** Settings of the coordinator and of agents that are paths, or `system`. */
const pathVariable = /^MILLRACE_(?:\w+_(?:FILE|DIR|CA|CERT|KEY)|DIST)$/;

/** An environment that means the same in another working directory. */
export function absoluteVariables(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const absolute = Object.entries(env).flatMap(([name, value]) =>
    value && value !== "system" && pathVariable.test(name) ? [[name, resolve(value)] as const] : [],
  );
  return { ...env, ...Object.fromEntries(absolute) };
}

/** Undefined when the stream ends without one. */
async function firstLine(stream: NodeJS.ReadableStream): Promise<string | undefined> {
  for await (const line of createInterface({ input: stream })) return line;
  return undefined;
}

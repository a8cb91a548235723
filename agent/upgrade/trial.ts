import { type ChildProcessByStdio, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import type { Clock } from "../../shared/clock.ts";
import { limits } from "../../shared/limits.ts";

export interface TrialOptions {
  /** The new program. */
  readonly file: string;
  /** Those that this agent was started with, from `agent` on. */
  readonly args: readonly string[];
  /** For joining the farm. */
  readonly withinMs: number;
  readonly clock: Clock;
  /** Its abort ends the trial. */
  readonly signal: AbortSignal;
}

/** The option by which an agent knows that it is tried: it joins, takes nothing, says so on a line of JSON, and waits for its end. */
export const trialOption = "--trial";

/**
 * Runs a new program in our place until it has joined the farm, and ends it. It ends with us, too: the channel to it is
 * closed then.
 * @returns why it is of no use; undefined when it has joined
 */
export async function tryProgram({ file, args, withinMs, clock, signal }: TrialOptions): Promise<string | undefined> {
  const child = spawn(file, [...args, trialOption, "--json"], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  }) as ChildProcessByStdio<null, Readable, Readable>; // Node's types know no channel beside pipes
  const verdict = Promise.withResolvers<string | undefined>();
  let lastWords = "";
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      verdict.resolve(`it could not be started: ${error.message}`);
      if (child.pid === undefined) resolve();
    });
    child.once("close", (code, killedBy) => {
      verdict.resolve(`it ended with ${killedBy ?? `exit code ${code}`}${lastWords === "" ? "" : `: ${lastWords}`}`);
      resolve();
    });
  });
  const { stdout, stderr } = child;
  createInterface({ input: stdout }).on("line", (line) => {
    if (saysTrial(line)) verdict.resolve(undefined);
  });
  createInterface({ input: stderr }).on("line", (line) => {
    process.stderr.write(`${line}\n`); // its log is part of ours
    lastWords = line.slice(0, limits.upgradeReasonCharacters);
  });
  const late = clock.after(withinMs, () => verdict.resolve(`it had not joined the farm after ${withinMs / 1000} s`));
  const onAbort = () => verdict.resolve("the agent was told to end");
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await verdict.promise;
  } finally {
    late();
    signal.removeEventListener("abort", onAbort);
    child.kill("SIGTERM");
    const hurry = clock.after(limits.upgradeTrialStopMs, () => child.kill("SIGKILL"));
    await ended;
    hurry();
  }
}

function saysTrial(line: string): boolean {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && "state" in value && value.state === "trial";
  } catch {
    return false; // not the line that is waited for
  }
}

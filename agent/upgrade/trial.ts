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

/** What a trial came to. One that is `late` may have found nobody to join: that says nothing of the program. */
export type Verdict =
  | { readonly kind: "joined" }
  | { readonly kind: "late"; readonly reason: string }
  | { readonly kind: "failed"; readonly reason: string };

/**
 * Runs a new program in our place until it has joined the farm, and ends it. It ends with us, too: the channel to it is
 * closed then.
 */
export async function tryProgram({ file, args, withinMs, clock, signal }: TrialOptions): Promise<Verdict> {
  const child = spawn(file, [...args, trialOption, "--json"], {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
  }) as ChildProcessByStdio<null, Readable, Readable>; // Node's types know no channel beside pipes
  const verdict = Promise.withResolvers<Verdict>();
  const fail = (reason: string) => verdict.resolve({ kind: "failed", reason });
  const { stdout, stderr } = child;
  let lastWords = "";
  let cancelLastWords = (): void => {};
  const ended = new Promise<void>((resolve) => {
    child.once("error", (error) => {
      fail(`it could not be started: ${error.message}`);
      if (child.pid === undefined) resolve();
    });
    child.once("exit", (code, killedBy) => {
      const conclude = () => {
        cancelLastWords();
        fail(`it ended with ${killedBy ?? `exit code ${code}`}${lastWords === "" ? "" : `: ${lastWords}`}`);
        resolve();
      };
      child.once("close", conclude);
      // Whoever else holds its pipes is not waited for.
      cancelLastWords = clock.after(limits.upgradeLastWordsMs, () => {
        stdout.destroy();
        stderr.destroy();
        if (child.connected) child.disconnect();
        conclude();
      });
    });
  });
  createInterface({ input: stdout }).on("line", (line) => {
    if (saysTrial(line)) verdict.resolve({ kind: "joined" });
  });
  createInterface({ input: stderr }).on("line", (line) => {
    process.stderr.write(`${line}\n`); // its log is part of ours
    lastWords = line.slice(0, limits.upgradeReasonCharacters);
  });
  const late = clock.after(withinMs, () =>
    verdict.resolve({ kind: "late", reason: `it had not joined the farm after ${withinMs / 1000} s` }),
  );
  const onAbort = () => fail("the agent was told to end");
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

import { createInterface } from "node:readline";
import { exitOf } from "./exit-of.ts";
import type { Host } from "./network.ts";

/** One life of a program on a machine of the network. */
export interface HostProgram {
  /** Of the process that can be stopped and killed. */
  readonly pid: number;
  readonly args: readonly string[];
  isRunning(): boolean;
  /** All that it said so far. */
  said(): string;
  /** kill -9, resolved when it is gone. */
  kill(): Promise<void>;
  /** SIGTERM; resolves with its exit status. */
  stop(): Promise<number | null>;
}

export interface ProgramOptions {
  readonly env: NodeJS.ProcessEnv;
  /** Matches the line by which it says that it serves. */
  readonly ready: RegExp;
}

/** Starts one; resolves when it serves, and throws with what it said when it ends before. */
export async function startOn(
  host: Host,
  args: readonly string[],
  { env, ready }: ProgramOptions,
): Promise<HostProgram> {
  const [file = "", ...rest] = args;
  const child = host.spawn(file, rest, { env, stdio: ["ignore", "pipe", "pipe"] });
  const ended = exitOf(child).then(([status]) => status);
  const isReady = Promise.withResolvers<void>();
  let said = "";
  for (const stream of [child.stdout, child.stderr]) {
    if (stream === null) continue;
    createInterface({ input: stream }).on("line", (line) => {
      said += `${line}\n`;
      if (ready.test(line)) isReady.resolve();
    });
  }
  void ended.then((status) => isReady.reject(new Error(`${args.join(" ")} ended with ${status}:\n${said}`)));
  await isReady.promise;
  return {
    pid: child.pid ?? 0,
    args,
    isRunning: () => child.exitCode === null && child.signalCode === null,
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

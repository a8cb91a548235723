import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { must } from "./bench.ts";

export interface ProgramOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/** Runs a program to its end and gives what it printed, first that on standard output. @throws when it fails */
export async function runProgram(file: string, args: readonly string[], options: ProgramOptions): Promise<string> {
  const child = spawn(file, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
  const closed = once(child, "close").then(([status]) => status as number | null);
  const [stdout, stderr, status] = await Promise.all([text(child.stdout), text(child.stderr), closed]);
  must(status === 0, `${file} ${args.join(" ")} ended with ${status}: ${stdout}${stderr}`);
  return stdout + stderr;
}

import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must } from "./bench.ts";

export interface ProgramOptions {
  readonly cwd: string;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * Runs a program to its end and gives what it printed. It prints into a file, since some programs (nx) exit before a
 * pipe has taken all.
 * @throws when it fails
 */
export async function runProgram(file: string, args: readonly string[], options: ProgramOptions): Promise<string> {
  const path = join(tmpdir(), `millrace-bench-output-${randomUUID()}`);
  const output = openSync(path, "wx");
  try {
    const child = spawn(file, args, { ...options, stdio: ["ignore", output, output] });
    const [status] = (await once(child, "close")) as [number | null];
    const said = readFileSync(path, "utf8");
    must(status === 0, `${file} ${args.join(" ")} ended with ${status}: ${said}`);
    return said;
  } finally {
    closeSync(output);
    rmSync(path);
  }
}

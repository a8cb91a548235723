import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { MillraceError } from "../../shared/errors.ts";
import { processAt, type RunningProcess } from "../../shared/running-process.ts";
import { taskPath } from "../tools/task-path.ts";
import { unitVariable } from "./unit-process.ts";

/** What a unit runs. */
export interface UnitSpec {
  readonly arguments: readonly string[];
  /** The whole environment, but for the few variables that every program may count on. */
  readonly environment: Readonly<Record<string, string>>;
  readonly folder: string;
}

/**
 * Starts a process that outlives the agent: a session of its own, output by the kernel into the file. Not by the runner,
 * which takes everything with it; deployments are rare enough for a slow start from the agent itself.
 * @param onEnd is told how it ended, while this agent lives
 * @throws MillraceError failed_precondition when the program cannot be run
 */
export async function startUnitProcess(
  spec: UnitSpec,
  token: string,
  log: string,
  onEnd: (how: string) => void,
): Promise<RunningProcess | undefined> {
  const [file = "", ...rest] = spec.arguments;
  const output = openSync(log, "a", 0o644);
  try {
    const environment = { PATH: taskPath([]), LANG: "C.UTF-8", HOME: homedir(), TMPDIR: tmpdir(), ...spec.environment };
    const child = spawn(file, rest, {
      cwd: spec.folder,
      env: { ...environment, [unitVariable]: token },
      stdio: ["ignore", output, output],
      detached: true,
    });
    child.once("exit", (code, signal) => onEnd(signal === null ? `exited with ${code}` : `was ended by ${signal}`));
    if (child.pid === undefined) {
      const [error] = (await once(child, "error")) as [Error];
      throw new MillraceError("failed_precondition", error.message, { cause: error });
    }
    child.unref();
    return processAt(child.pid);
  } finally {
    closeSync(output);
  }
}

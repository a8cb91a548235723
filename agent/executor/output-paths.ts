import { posix } from "node:path";
import type { Command } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Refused } from "./executor.ts";

/** Tells a process which of its outputs holds tasks that it adds to its stage. */
const generateVariable = "MILLRACE_GENERATE";

/** An output that the Command promises. */
export interface PromisedOutput {
  /** As the Command says it: relative to its working directory. */
  readonly path: string;
  /** From the input root; empty for the root itself. */
  readonly fromRoot: string;
  /** Holds tasks that it adds to its stage. It promised nothing: it need not. */
  readonly holdsTasks?: boolean;
}

/** @throws Refused when it leads out of the input root. */
export function workingDirectory(command: Command): string {
  return withinRoot("working_directory", "", command.workingDirectory);
}

/**
 * What the Command promises, from `output_paths` or, when that is empty, from the older fields.
 * @throws Refused when one leads out of the input root.
 */
export function promisedOutputs(command: Command): PromisedOutput[] {
  const from = workingDirectory(command);
  const { outputPaths, outputFiles, outputDirectories, environmentVariables } = command;
  const paths = outputPaths.length > 0 ? outputPaths : [...outputFiles, ...outputDirectories];
  const generated = environmentVariables.find(({ name }) => name === generateVariable)?.value;
  return paths.map((path) => {
    const output = { path, fromRoot: withinRoot("output path", from, path) };
    return path === generated ? { ...output, holdsTasks: true } : output;
  });
}

/** The folders that must exist before the command runs: its own, and the parents of its outputs. */
export function foldersToMake(command: Command): string[] {
  const parents = promisedOutputs(command).map(({ fromRoot }) => posix.dirname(fromRoot));
  return [...new Set([workingDirectory(command), ...parents])].filter((folder) => folder !== "" && folder !== ".");
}

function withinRoot(what: string, from: string, path: string): string {
  const joined = posix.join(from, path).replace(/\/+$/, "");
  if (path.startsWith("/") || joined === ".." || joined.startsWith("../") || path.includes("\0")) {
    throw new Refused(`${what} "${path}" leads out of the input root; make it relative to it`);
  }
  return joined === "." ? "" : joined;
}

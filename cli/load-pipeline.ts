import { readFileSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { from, MillraceError } from "../shared/errors.ts";
import { limits } from "../shared/limits.ts";
import { parsePipeline } from "../shared/pipeline/parse.ts";
import type { Pipeline, Problem } from "../shared/pipeline/pipeline.ts";

/** Where a pipeline file is looked for when none is named. */
export const defaultPipelinePath = "millrace.yaml";

export type LoadedPipeline =
  | { readonly pipeline: Pipeline; readonly problems: readonly [] }
  | { readonly pipeline?: undefined; readonly problems: readonly Problem[] };

/**
 * Reads and checks `path` below `dir`; what is wrong in the file is a value, all of it at once.
 * @throws MillraceError not_found, saying how to get one, when there is no such file.
 */
export function loadPipeline(dir: string, path: string): LoadedPipeline {
  const file = join(dir, path);
  return parsePipeline(readText(file), path);
}

/** The same for a path that a person gave: a pipeline file, or a folder that holds one. `path` is what was read. */
export function loadPipelineFile(path: string): LoadedPipeline & { readonly path: string } {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isFolder ? join(path, defaultPipelinePath) : path;
  return { ...loadPipeline(dirname(file), basename(file)), path: file };
}

function readText(file: string): string {
  try {
    const { size } = statSync(file);
    if (size > limits.pipelineFileBytes) {
      throw new MillraceError(
        "invalid_argument",
        `${file} has ${size} bytes; at most ${limits.pipelineFileBytes} are read`,
      );
    }
    return readFileSync(file, "utf8");
  } catch (error) {
    const failure = from(error);
    if (failure.code !== "not_found") throw from(error, `reading ${file}`);
    throw new MillraceError(
      "not_found",
      `there is no ${file}. Write a starter with \`millrace init\`, or name the file.`,
      {
        cause: error,
      },
    );
  }
}

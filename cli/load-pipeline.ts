import { statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { parsePipeline } from "../shared/pipeline/parse.ts";
import type { Pipeline, Problem } from "../shared/pipeline/pipeline.ts";
import { defaultPipelinePath } from "../shared/pipeline/pipeline-path.ts";
import { readPipeline } from "./read-pipeline.ts";

export type LoadedPipeline =
  | { readonly pipeline: Pipeline; readonly problems: readonly [] }
  | { readonly pipeline?: undefined; readonly problems: readonly Problem[] };

/**
 * Reads and checks the file at a path that a person gave: a pipeline file, or a folder that holds one; what is wrong in
 * it is a value, all of it at once. `path` is what was read.
 * @throws MillraceError not_found, saying how to get one, when there is no such file.
 */
export function loadPipelineFile(path: string): LoadedPipeline & { readonly path: string } {
  const isFolder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const file = isFolder ? join(path, defaultPipelinePath) : path;
  return { ...parsePipeline(readPipeline(dirname(file), basename(file)), basename(file)), path: file };
}

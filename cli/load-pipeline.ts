import { statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { parsePipeline } from "../shared/pipeline/parse.ts";
import type { Pipeline, Problem } from "../shared/pipeline/pipeline.ts";
import { defaultPipelinePath, pipelinePathOf } from "../shared/pipeline/pipeline-path.ts";
import { noRun } from "../shared/pipeline/plan-context.ts";
import type { GivenParams } from "./param-option.ts";
import { readPipeline } from "./read-pipeline.ts";
import { readingFrom, sourceFolderOf } from "./read-source-file.ts";

export type LoadedPipeline =
  | { readonly pipeline: Pipeline; readonly problems: readonly [] }
  | { readonly pipeline?: undefined; readonly problems: readonly Problem[] };

/**
 * Reads and checks the file at a path that a person gave: a pipeline file, a folder that holds one, or the name of a
 * further pipeline of this folder; what is wrong in it is a value, all of it at once, with paths as seen from here.
 * `path` is what was read. Files that it includes are read from the folder of its source.
 * @throws MillraceError not_found, saying how to get one, when there is no such file.
 */
export function loadPipelineFile(given: string, params: GivenParams = {}): LoadedPipeline & { readonly path: string } {
  const path = fileOf(given);
  const source = sourceFolderOf(path);
  const inSource = relative(source, resolve(path));
  const text = readPipeline(dirname(path), relative(dirname(path), path));
  const parsed = parsePipeline(text, inSource, { context: { ...noRun, params }, readFile: readingFrom(source) });
  if (parsed.pipeline !== undefined) return { ...parsed, path };
  const fromHere = (file: string) => (file === inSource ? path : join(relative(".", source), file));
  return { path, problems: parsed.problems.map((problem) => ({ ...problem, file: fromHere(problem.file) })) };
}

function fileOf(given: string): string {
  const stat = statSync(given, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) return join(given, defaultPipelinePath);
  return stat === undefined ? pipelinePathOf(given) : given;
}

import { statSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { parsePipeline } from "../shared/pipeline/parse.ts";
import type { Pipeline, Problem } from "../shared/pipeline/pipeline.ts";
import { isTypeScript } from "../shared/pipeline/pipeline-path.ts";
import { noRun } from "../shared/pipeline/plan-context.ts";
import type { GivenParams } from "./param-option.ts";
import { pipelineFileBelow, readPipeline } from "./read-pipeline.ts";
import { readingFrom, sourceFolderOf } from "./read-source-file.ts";

export type LoadedPipeline =
  | { readonly pipeline: Pipeline; readonly problems: readonly [] }
  | { readonly pipeline?: undefined; readonly problems: readonly Problem[] };

/** What a file of a folder gave when it was evaluated, or everything that is wrong with it. */
export type EvaluateFile = (
  dir: string,
  path: string,
) => Promise<{ readonly text: string } | { readonly problems: readonly Problem[] }>;

export interface LoadOptions {
  readonly params?: GivenParams;
  /** For a file in TypeScript. */
  readonly evaluate: EvaluateFile;
}

/**
 * Reads and checks the file at a path that a person gave: a pipeline file, a folder that holds one, or the name of a
 * further pipeline of this folder; what is wrong in it is a value, all of it at once, with paths as seen from here.
 * `path` is what was read. Files that it includes are read from the folder of its source.
 * @throws MillraceError not_found, saying how to get one, when there is no such file; invalid_argument where there are two
 */
export async function loadPipelineFile(
  given: string,
  { params = {}, evaluate }: LoadOptions,
): Promise<LoadedPipeline & { readonly path: string }> {
  const { folder, path, isName } = fileOf(given);
  const source = sourceFolderOf(path);
  const inSource = relative(source, resolve(path));
  const fromHere = (problem: Problem) => {
    const file = problem.file === inSource ? path : join(relative(".", source), problem.file);
    return { ...problem, file };
  };
  let text = readPipeline(folder, relative(folder, path), isName ? `file or folder ${given}, and no ${path}` : path);
  if (isTypeScript(path)) {
    const gave = await evaluate(source, inSource);
    if ("problems" in gave) return { path, problems: gave.problems.map(fromHere) };
    ({ text } = gave);
  }
  const parsed = parsePipeline(text, inSource, { context: { ...noRun, params }, readFile: readingFrom(source) });
  if (parsed.pipeline !== undefined) return { ...parsed, path };
  return { path, problems: parsed.problems.map(fromHere) };
}

/** The file that is meant, the folder from which it is, and whether it was named without its path. */
function fileOf(given: string): { readonly folder: string; readonly path: string; readonly isName: boolean } {
  const stat = statSync(given, { throwIfNoEntry: false });
  if (stat?.isDirectory() === true) {
    return { folder: given, path: join(given, pipelineFileBelow(given, "")), isName: false };
  }
  const path = stat === undefined ? pipelineFileBelow(".", given) : given;
  return { folder: ".", path, isName: path !== given };
}

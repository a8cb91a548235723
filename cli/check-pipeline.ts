import { from, type MillraceError } from "../shared/errors.ts";
import type { Problem } from "../shared/pipeline/pipeline.ts";
import { noRun } from "../shared/pipeline/plan-context.ts";
import type { KnownPipelines } from "./known-pipelines.ts";
import type { GivenParams } from "./param-option.ts";
import { readPipeline } from "./read-pipeline.ts";
import { readingFrom } from "./read-source-file.ts";

export interface CheckPipelineOptions {
  readonly dir: string;
  /** Of the pipeline file, below `dir`. */
  readonly path: string;
  readonly params?: GivenParams;
  readonly known: KnownPipelines;
  /** Told what a person should know and need do nothing about. */
  readonly onProblem: (problem: MillraceError) => void;
}

/**
 * All problems of a pipeline file before anything is sent for it; none for a text that had none before.
 * @throws MillraceError not_found, saying how to get one, when there is no such file.
 */
export async function checkPipeline({
  dir,
  path,
  params = {},
  known,
  onProblem,
}: CheckPipelineOptions): Promise<readonly Problem[]> {
  const text = readPipeline(dir, path);
  // What is known is known of the text alone; other files may have changed since.
  const isAlone = Object.keys(params).length === 0 && !text.includes("include");
  if (isAlone && known.has(text)) return [];
  // Loaded where it is needed alone: its libraries take 50 ms.
  const { parsePipeline } = await import("../shared/pipeline/parse.ts");
  const context = { ...noRun, params, isSample: false };
  const { problems } = parsePipeline(text, path, { context, readFile: readingFrom(dir) });
  if (problems.length === 0 && isAlone) {
    try {
      known.add(text);
    } catch (error) {
      onProblem(from(error));
    }
  }
  return problems;
}

import { from, type MillraceError } from "../shared/errors.ts";
import type { Problem } from "../shared/pipeline/pipeline.ts";
import type { KnownPipelines } from "./known-pipelines.ts";
import { readPipeline } from "./read-pipeline.ts";

export interface CheckPipelineOptions {
  readonly dir: string;
  /** Of the pipeline file, below `dir`. */
  readonly path: string;
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
  known,
  onProblem,
}: CheckPipelineOptions): Promise<readonly Problem[]> {
  const text = readPipeline(dir, path);
  if (known.has(text)) return [];
  // Loaded where it is needed alone: its libraries take 50 ms.
  const { parsePipeline } = await import("../shared/pipeline/parse.ts");
  const { problems } = parsePipeline(text, path);
  if (problems.length === 0) {
    try {
      known.add(text);
    } catch (error) {
      onProblem(from(error));
    }
  }
  return problems;
}

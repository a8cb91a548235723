import type { Digest } from "../../../shared/digest.ts";
import type { TreeEntry } from "../../../shared/merkle/tree-entry.ts";
import type { ActionScope } from "../../../shared/pipeline/action.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import type { OnImportProgress } from "../source/source-imports.ts";

/** A pipeline file in TypeScript, in its source, which is in the CAS. */
export interface TypeScriptPipeline {
  /** Path of the file. */
  readonly file: string;
  /** Files, symlinks and empty directories of the source. */
  readonly source: readonly TreeEntry[];
  readonly scope: ActionScope;
  /** What connected agents have. */
  readonly offers: readonly ToolOffer[];
}

/** What an evaluation gave: JSON that nobody has looked at yet, at most `limits.pipelineFileBytes`. */
export interface EvaluatedPipeline {
  readonly text: string;
  /** Of the text, which is in the CAS. */
  readonly digest: Digest;
}

/** Has agents evaluate pipeline files in TypeScript. May be called concurrently. */
export interface PipelineEvaluations {
  /**
   * Resolves when the file has given its pipeline, now or at an earlier time with the same inputs. Throws
   * `invalid_argument` with what it printed when it gave none (BadRequest, as for every pipeline file), `failed_precondition`
   * when agents were lost or failed too often, `resource_exhausted` when too many evaluations wait, and when the signal aborts, with which
   * this one ends. `onProgress` is told only of one that an agent has to do.
   */
  evaluate(pipeline: TypeScriptPipeline, signal: AbortSignal, onProgress: OnImportProgress): Promise<EvaluatedPipeline>;
}

import type { Cas } from "../../../shared/cas/cas.ts";
import type { Digest } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { isTypeScript } from "../../../shared/pipeline/pipeline-path.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import { type ProjectView, projectNamed } from "../project/projects.ts";
import { pipelineFileIn, readSource } from "../run/plan-source.ts";
import type { PipelineEvaluations } from "./pipeline-evaluations.ts";

/** A pipeline file of a source that is in the CAS. */
export interface SourcePipeline {
  /** Empty: the default one. */
  readonly project: string;
  /** Root of the tree. */
  readonly source: Digest;
  /** A path, a name, or nothing. */
  readonly pipelinePath: string;
}

/** Evaluations for their own sake: nothing runs. May be called concurrently. */
export interface SourceEvaluations {
  /**
   * Resolves with the path of the file and what it gave, as JSON. Throws what `PipelineEvaluations.evaluate` throws,
   * `invalid_argument` for a file that is not in TypeScript, `failed_precondition` when blobs of the tree are missing,
   * `not_found` for a project that is not there.
   */
  evaluate(of: SourcePipeline, signal: AbortSignal): Promise<{ readonly pipelinePath: string; readonly text: string }>;
}

export interface SourceEvaluationsDeps {
  readonly cas: Cas;
  readonly evaluations: PipelineEvaluations;
  readonly projects: Pick<ProjectView, "cacheZoneOf" | "hold">;
  readonly offers: () => readonly ToolOffer[];
}

export function sourceEvaluations({ cas, evaluations, projects, offers }: SourceEvaluationsDeps): SourceEvaluations {
  return {
    async evaluate({ project: given, source, pipelinePath: asked }, signal) {
      const project = projectNamed(given);
      const release = projects.hold(project);
      try {
        const { entries } = await readSource(cas, source, signal);
        const file = pipelineFileIn(entries, asked);
        if (!isTypeScript(file))
          throw new MillraceError("invalid_argument", `${file} is not in TypeScript: there is nothing to evaluate`);
        const scope = { project, cacheZone: projects.cacheZoneOf(project) };
        const pipeline = { file, source: entries, scope, offers: offers() };
        const { text } = await evaluations.evaluate(pipeline, signal, () => {});
        return { pipelinePath: file, text };
      } finally {
        release();
      }
    },
  };
}

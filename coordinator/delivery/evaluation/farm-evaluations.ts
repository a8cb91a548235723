import { create } from "@bufbuild/protobuf";
import { EndingKind, EndingSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { ImportState } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Cas } from "../../../shared/cas/cas.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import type { Component } from "../../../shared/lifecycle.ts";
import { limits } from "../../../shared/limits.ts";
import { chooseNode, evaluationAction } from "../../../shared/pipeline/evaluation/evaluation-action.ts";
import { evaluationInputs } from "../../../shared/pipeline/evaluation/evaluation-inputs.ts";
import type { ActionCache } from "../../farm/action-cache/action-cache.ts";
import type { LogKeeping } from "../../farm/logs/log-keeping.ts";
import { type AwaitedExecutionsDeps, awaitedExecutions } from "../awaited-executions.ts";
import { invalidPipeline } from "../run/invalid-pipeline.ts";
import { evaluatedBy } from "./evaluation-outcome.ts";
import type { PipelineEvaluations, TypeScriptPipeline } from "./pipeline-evaluations.ts";

export interface FarmEvaluationsDeps {
  readonly scheduler: AwaitedExecutionsDeps["scheduler"];
  readonly cas: Cas;
  readonly actionCache: Pick<ActionCache, "get">;
  /** What an evaluation printed is part of its result; the log that it came by goes when it has ended. */
  readonly logs: Pick<LogKeeping, "remove">;
  /** Never the same twice, without dots. */
  readonly newId: () => string;
  readonly onError: (error: unknown) => void;
}

const idPrefix = "evaluation-";

/** Evaluations as Actions of the farm: cached, merged, placed and ended like those of tasks. */
export function farmEvaluations(deps: FarmEvaluationsDeps): PipelineEvaluations & Component {
  const { scheduler, cas, actionCache, logs, newId, onError } = deps;
  const executions = awaitedExecutions({
    ...{ scheduler, what: "evaluations of pipeline files", waitingMax: limits.evaluationsWaiting, onError },
    isOwn: (id) => id.startsWith(idPrefix),
    onForgotten: (id) => logs.remove(id),
  });

  return {
    name: executions.name,
    start: async () => executions.start?.(),
    stop: async () => executions.stop?.(),

    async evaluate(pipeline, signal, onProgress) {
      const { file } = pipeline;
      const evaluation = await prepared(cas, pipeline, signal);
      const { action, digest, command, blobs } = evaluation;
      const known = await actionCache.get(digest, signal);
      if (known !== undefined) {
        const ending = create(EndingSchema, { kind: EndingKind.EXITED });
        return await evaluatedBy(cas, file, { ending, result: known.result }, signal);
      }
      await cas.writeMany(blobs, signal);
      onProgress(ImportState.EVALUATING, "");
      const request = {
        ...{ id: `${idPrefix}${newId()}`, action, command, actionDigest: digest },
        // A run waits for it, and often a person; it takes less than a second.
        priority: limits.importPriority,
        fairGroup: "evaluations",
        volatileEnvironment: {},
      };
      let ranAs = request.id;
      const watch = {
        onWaiting: (detail: string) => onProgress(ImportState.EVALUATING, detail),
        onStarted(agent: string, execution: string) {
          ranAs = execution;
          onProgress(ImportState.EVALUATING, agent);
        },
      };
      const outcome = await executions.run(request, signal, watch);
      // Whose log it was may have gone away before.
      if (ranAs !== request.id) await logs.remove(ranAs).catch(onError);
      return await evaluatedBy(cas, file, outcome, signal);
    },
  };
}

async function prepared(cas: Cas, { file, source, scope, offers }: TypeScriptPipeline, signal: AbortSignal) {
  const files = new Map(source.map(({ path, node }) => [path, node]));
  const read = async (path: string) => {
    const node = files.get(path);
    if (node?.kind !== "file" || node.digest.sizeBytes > limits.pipelineFileBytes) return undefined;
    return new TextDecoder().decode(await readBlob(cas, node.digest, signal));
  };
  const { entries: inputs, problems } = await evaluationInputs({ file, entries: source, read });
  const node = chooseNode(file, offers);
  if (problems.length > 0) throw invalidPipeline(problems.slice(0, limits.pipelineProblems));
  if ("message" in node) throw invalidPipeline([node]);
  return evaluationAction({ file, inputs, node, scope });
}

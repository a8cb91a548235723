import { RunStatus } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { PipelineFlow, RunFlow } from "../../../proto/gen/millrace/v1/flow_pb.ts";
import type { Clock } from "../../../shared/clock.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { RunHistories, Runs } from "../run/runs.ts";
import { pipelineFlow } from "./pipeline-flow.ts";
import { runFlow } from "./run-flow.ts";

/** Where the time of runs goes. Reads the log and keeps nothing; may be called concurrently. */
export interface Flows {
  /** Throws `not_found`. */
  ofRun(run: string): Promise<RunFlow>;
  /** Of the newest run of these projects (default all). Throws `not_found` when there is none. */
  ofNewest(projects?: readonly string[]): Promise<RunFlow>;
  /** Over the last successful runs: others end where they broke off. Throws `not_found` when there are none. */
  ofPipeline(
    pipeline: string,
    options: { readonly runsMax: number; readonly projects?: readonly string[] | undefined },
  ): Promise<PipelineFlow>;
}

export interface FlowsDeps {
  readonly runs: Pick<Runs, "list">;
  readonly histories: RunHistories;
  readonly clock: Clock;
}

export function flows({ runs, histories, clock }: FlowsDeps): Flows {
  const ofRun = async (run: string) => runFlow(run, await histories.history(run), clock.nowMs());
  return {
    ofRun,

    async ofNewest(projects) {
      const [newest] = await runs.list({ limit: 1, projects });
      if (newest === undefined) throw new MillraceError("not_found", "there are no runs yet: see `millrace run`");
      return await ofRun(newest.name);
    },

    async ofPipeline(pipeline, { runsMax, projects }) {
      const recent = await runs.list({ limit: limits.listPage, projects });
      const chosen = recent
        .filter((run) => run.pipeline === pipeline && run.status === RunStatus.SUCCEEDED)
        .slice(0, runsMax);
      if (chosen.length === 0) {
        const known = [...new Set(recent.map((run) => run.pipeline))].join(", ") || "none";
        throw new MillraceError(
          "not_found",
          `among the last ${limits.listPage} runs no run of "${pipeline}" succeeded; their pipelines are: ${known}`,
        );
      }
      const found: RunFlow[] = [];
      for (const { name } of chosen) found.push(await ofRun(name));
      return pipelineFlow(pipeline, found);
    },
  };
}

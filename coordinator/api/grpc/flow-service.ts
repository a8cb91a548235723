import type { ServiceImpl } from "@connectrpc/connect";
import type { FlowService } from "../../../proto/gen/millrace/v1/flow_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import type { Flows } from "../../delivery/insight/flows.ts";
import { principalOf } from "../guard.ts";

export interface FlowServiceDeps {
  readonly flows: Flows;
}

/** FlowService: where the time of runs went. */
export function flowService({ flows }: FlowServiceDeps): ServiceImpl<typeof FlowService> {
  return {
    async getFlow({ run, pipeline, runsMax }, context) {
      const { projects } = principalOf(context);
      if (run !== "" && pipeline !== "") {
        throw new MillraceError("invalid_argument", "give a run or a pipeline, not both");
      }
      if (pipeline !== "") {
        const most = Math.min(runsMax > 0 ? runsMax : limits.flowRuns, limits.flowRunsMax);
        return { flow: { case: "pipeline", value: await flows.ofPipeline(pipeline, { runsMax: most, projects }) } };
      }
      return { flow: { case: "run", value: await (run === "" ? flows.ofNewest(projects) : flows.ofRun(run)) } };
    },
  };
}

import { create } from "@bufbuild/protobuf";
import { type Report, ReportSchema } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import type { StorageOwner } from "../../shared/disk-space.ts";
import { type Assignment, type Executor, interrupted } from "./executor.ts";

/** The outermost layer: an assignment in, the report on it out, whatever happens. */
export interface ReportingExecutor {
  execute(task: Assignment, stop: AbortSignal): Promise<Report>;
}

export function reportingExecutor(
  base: Executor<Assignment>,
  { agentId, own }: { readonly agentId: string; readonly own: StorageOwner },
): ReportingExecutor {
  return {
    async execute(task, stop) {
      const started = task.time.now();
      const done = await base.execute(task, stop).catch((error: unknown) => interrupted(error, stop, own));
      done.times.worker = agentId;
      done.times.workerStartTimestamp = started;
      done.times.workerCompletedTimestamp = task.time.now();
      done.result.executionMetadata = done.times;
      const { executionId, epoch, attempt } = task;
      const { ending, result, usage, confinement, deployment } = done;
      return create(ReportSchema, {
        ...{ agentId, executionId, epoch, attempt, ending, result, usage },
        ...(confinement === undefined ? {} : { confinement }),
        ...(deployment === undefined ? {} : { deployment }),
        ...(task.once?.isBegun === true ? { begun: true } : {}),
      });
    },
  };
}

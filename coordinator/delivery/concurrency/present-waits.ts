import type { Run } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { AdmissionWait } from "./admissions.ts";

/**
 * The run with what its tasks wait for as it is at this moment: who holds a place changes without an event of theirs.
 * @param run is changed
 */
export function withPresentWaits(run: Run, waitOf: (task: string) => AdmissionWait | undefined): Run {
  for (const task of run.tasks) {
    const present = task.wait === undefined ? undefined : waitOf(`${task.stage}/${task.name}`);
    if (task.wait !== undefined && task.wait.cause === present?.cause) task.wait = { ...task.wait, ...present };
  }
  return run;
}

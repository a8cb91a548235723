import { RunStatus } from "../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../shared/limits.ts";
import type { Connection } from "./connection.ts";

/**
 * Cancels the runs that go on, of a farm that was started a moment ago for a run of its own: whoever followed them was
 * ended before they were, and nobody waits for their outcome any more.
 * @returns their names
 */
export async function cancelLeftovers({ runs }: Pick<Connection, "runs">): Promise<string[]> {
  // Each call finds those of the one before it, so there are few, and all are new.
  const newest = await runs.listRuns({ pageSize: limits.localFarms });
  const left = newest.runs.filter(({ status }) => status === RunStatus.RUNNING).map(({ name }) => name);
  for (const run of left) await runs.cancelRun({ run, reason: "the call that followed it was ended" });
  return left;
}

import type { Run } from "../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../shared/errors.ts";
import type { Connection } from "./connection.ts";

/** The run as it stands. @throws MillraceError not_found */
export async function fetchRun(connection: Pick<Connection, "runs">, name: string): Promise<Run> {
  const { run } = await connection.runs.getRun({ run: name });
  if (run === undefined) throw new MillraceError("internal", `the coordinator answered without ${name}`);
  return run;
}

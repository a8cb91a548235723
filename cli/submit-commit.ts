import type { MessageInitShape } from "@bufbuild/protobuf";
import type { RunRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./output/console.ts";
import { submitWithProgress } from "./submit-with-progress.ts";

export interface SubmitCommitOptions {
  /** Empty: the repository of the run's project. */
  readonly url: string;
  /** Empty: its default branch. */
  readonly ref: string;
  readonly run: MessageInitShape<typeof RunRequestSchema>;
  readonly signal: AbortSignal;
  /** Where progress is shown; nowhere without it. */
  readonly console?: Console;
}

/** Has an agent import a commit and starts a run of it; gives the run's name. An abort ends the import. */
export async function submitCommit(
  connection: Pick<Connection, "runs" | "transport">,
  { url, ref, run, ...options }: SubmitCommitOptions,
): Promise<string> {
  return await submitWithProgress(
    connection,
    { run, git: { url, ref } },
    { ...options, first: "asking for the import" },
  );
}

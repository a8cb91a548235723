import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ImportProgress, ImportState, type RunRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../shared/errors.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./output/console.ts";
import { safeText } from "./output/safe-text.ts";
import { spinner, statusLine } from "./output/status-line.ts";

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
  { runs }: Pick<Connection, "runs">,
  { url, ref, run, signal, console }: SubmitCommitOptions,
): Promise<string> {
  let doing = "asking for the import";
  const line = console && statusLine(console, () => `${spinner(performance.now())} ${doing}`);
  try {
    for await (const { part } of runs.submitRunWithProgress({ submit: { run, git: { url, ref } } }, { signal })) {
      if (part.case === "run") return part.value;
      if (part.case !== "progress") continue;
      doing = describe(part.value);
      if (console?.interactive === false) console.note(console.colors.dim(doing));
      line?.redraw();
    }
  } finally {
    await line?.close();
  }
  throw new MillraceError("unavailable", "the coordinator ended the import without a word");
}

function describe({ state, detail }: ImportProgress): string {
  const about = detail === "" ? "" : safeText(detail);
  switch (state) {
    case ImportState.WAITING:
      return about === "" ? "the import waits for an agent" : `the import waits: ${about}`;
    case ImportState.FETCHING:
      return `${about} fetches the commit`;
    case ImportState.UPLOADING:
      return `${about} uploads what is new`;
    default:
      return "importing";
  }
}

import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ImportProgress, ImportState, type SubmitRunRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../shared/errors.ts";
import type { Connection } from "./connection.ts";
import type { Console } from "./output/console.ts";
import { safeText } from "./output/safe-text.ts";
import { spinner, statusLine } from "./output/status-line.ts";

export interface ProgressOptions {
  readonly signal: AbortSignal;
  /** What is done before anything is told. */
  readonly first: string;
  /** Where progress is shown; nowhere without it. */
  readonly console?: Console | undefined;
}

/** Starts a run for which something has to be done before, and shows how far that is; gives the run's name. An abort ends it. */
export async function submitWithProgress(
  { runs }: Pick<Connection, "runs">,
  submit: MessageInitShape<typeof SubmitRunRequestSchema>,
  { signal, console, first }: ProgressOptions,
): Promise<string> {
  let doing = first;
  const line = console && statusLine(console, () => `${spinner(performance.now())} ${doing}`);
  try {
    for await (const { part } of runs.submitRunWithProgress({ submit }, { signal })) {
      if (part.case === "run") return part.value;
      if (part.case !== "progress") continue;
      doing = describe(part.value);
      if (console?.interactive === false) console.note(console.colors.dim(doing));
      line?.redraw();
    }
  } finally {
    await line?.close();
  }
  throw new MillraceError("unavailable", "the coordinator ended the call without a word");
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
    case ImportState.EVALUATING:
      return about === "" ? "the pipeline file is evaluated" : `the pipeline file is evaluated: ${about}`;
    default:
      return "importing";
  }
}

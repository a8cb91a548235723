import type { MessageInitShape } from "@bufbuild/protobuf";
import { type ImportProgress, ImportState, type SubmitRunRequestSchema } from "../proto/gen/millrace/v1/run_pb.ts";
import type { Connection } from "./connection.ts";
import { awayRemark, resumed } from "./follow/resumed.ts";
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

/**
 * Starts a run for which something has to be done before, and shows how far that is; gives the run's name. An abort ends it.
 * A coordinator that starts anew knows nothing of it and is asked again: by the request's idempotency key there is one run,
 * whatever the one before came to.
 */
export async function submitWithProgress(
  { runs, transport }: Pick<Connection, "runs" | "transport">,
  submit: MessageInitShape<typeof SubmitRunRequestSchema>,
  { signal, console, first }: ProgressOptions,
): Promise<string> {
  let doing = first;
  let name = "";
  const line = console && statusLine(console, () => `${spinner(performance.now())} ${doing}`);
  const say = (text: string) => {
    doing = text;
    if (console?.interactive === false) console.note(console.colors.dim(doing));
    line?.redraw();
  };
  const parts = resumed({
    open: (attempt) => runs.submitRunWithProgress({ submit }, { signal: attempt }),
    complete: () => name !== "",
    isKnown: () => transport.wasConnected(),
    signal,
    onInterruption: (error) => say(awayRemark(error)),
  });
  try {
    for await (const { part } of parts) {
      if (part.case === "progress") say(describe(part.value));
      else if (part.case === "run") name = part.value;
    }
  } finally {
    await line?.close();
  }
  return name;
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

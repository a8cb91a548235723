import { durationMs } from "@bufbuild/protobuf/wkt";
import { type Ending, EndingKind, type PlannedTask } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../../../shared/limits.ts";

/** A failure of the task itself, as opposed to one of the farm, of its host, or of what somebody wanted. */
const ownFailures: readonly EndingKind[] = [
  EndingKind.EXITED,
  EndingKind.SIGNALLED,
  EndingKind.TIMED_OUT,
  EndingKind.OUT_OF_MEMORY,
  EndingKind.OUTPUT_MISSING,
];

/**
 * How long to wait before a task that failed is tried again; undefined when it is not. Pure.
 *
 * What is not idempotent is tried again only after an ending that its policy names: whoever names it has thought of what
 * such a failure leaves behind. "Any failure" is no such word, and may come from the defaults of the file.
 * @param retries how often it was tried again so far
 */
export function retryDelayMs(
  { retry, gate, atMostOnce }: Pick<PlannedTask, "retry" | "gate" | "atMostOnce">,
  ending: Pick<Ending, "kind" | "exitCode" | "signal"> | undefined,
  retries: number,
): number | undefined {
  if (retry === undefined || ending === undefined || gate !== undefined || retries >= retry.retries) return undefined;
  if (!ownFailures.includes(ending.kind)) return undefined;
  const { exitCodes, signals, kinds, delay } = retry;
  const isAny = exitCodes.length === 0 && signals.length === 0 && kinds.length === 0;
  const isNamed =
    (ending.kind === EndingKind.EXITED && exitCodes.includes(ending.exitCode)) ||
    (ending.kind === EndingKind.SIGNALLED && signals.includes(ending.signal)) ||
    kinds.includes(ending.kind);
  if (!isNamed && (!isAny || atMostOnce)) return undefined;
  const firstMs = delay === undefined ? limits.retryDelayMs : durationMs(delay);
  return Math.min(firstMs * 2 ** retries, limits.retryDelayMaxMs);
}

import { isRemote, MillraceError } from "../shared/errors.ts";
import type { Connection } from "./connection.ts";
import { awayRemark, resumed } from "./follow/resumed.ts";
import type { Console } from "./output/console.ts";

export interface AskAgainOptions {
  readonly signal: AbortSignal;
  /** Where an outage is told; nowhere without it. */
  readonly console?: Console | undefined;
  /** Asked at an outage. Default: yes. */
  readonly isRepeatable?: () => boolean;
}

/**
 * Something that a coordinator is asked for, and is asked for again when it went away meanwhile, for as long as a stream is
 * resumed. It must do no harm to have done it twice. What failed on this side is not tried again, nor is a coordinator
 * waited for that was never there.
 */
export async function askAgain<T>(
  { transport }: Pick<Connection, "transport">,
  ask: (signal: AbortSignal) => Promise<T>,
  { signal, console, isRepeatable = () => true }: AskAgainOptions,
): Promise<T> {
  const answers = resumed({
    async *open(attempt) {
      yield await ask(attempt);
    },
    complete: () => true,
    isKnown: (failure) => isRemote(failure) && transport.wasConnected() && isRepeatable(),
    signal,
    onInterruption: (error) => console?.note(console.colors.dim(awayRemark(error))),
  });
  for await (const answer of answers) return answer;
  throw new MillraceError("internal", "an answer that was neither given nor refused");
}

import { type Masking, masking, maskingAll } from "../../shared/masking/masking.ts";
import type { NamedSecret } from "../../shared/masking/patterns.ts";
import type { MaskFile, NamedByTask } from "./mask-file.ts";

/** What hides the secrets of an attempt: those that it was given, and those that it has named itself. */
export interface AttemptMasking {
  /**
   * As of now, the same one while there is nothing new. Bytes that were read from the task's output before this is called
   * are masked by all that the task named before it printed them.
   */
  now(): Masking;
  /** Where the task names more; undefined when it cannot. */
  readonly file?: string;
}

/** While there may be values that nobody knows, everything is hidden. */
export function attemptMasking(given: readonly NamedSecret[], file?: Pick<MaskFile, "path" | "look">): AttemptMasking {
  let hidden = masking(given);
  if (file === undefined) return { now: () => hidden };
  let known: NamedByTask = { values: [] };
  return {
    file: file.path,
    now() {
      const named = file.look();
      if (named === known) return hidden;
      known = named;
      hidden = named.incomplete === undefined ? masking([...given, ...named.values]) : maskingAll();
      return hidden;
    },
  };
}

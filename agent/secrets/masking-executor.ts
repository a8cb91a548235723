import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { EndingKind, EndingSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { type Masking, masking } from "../../shared/masking/masking.ts";
import { type Assignment, type Conclusion, type Executor } from "../executor/executor.ts";
import { spoolName } from "../logs/spool-name.ts";
import { attemptMasking } from "./attempt-masking.ts";
import { openMaskFile } from "./mask-file.ts";

export interface MaskingOptions {
  /** Holds, for each attempt, the file in which the task names secrets of its own. */
  readonly maskFiles: string;
  /** Where the output of attempts is; see loggingExecutor. */
  readonly spools: string;
}

/**
 * Gives the layers below what hides the secrets of the attempt, those included that the task names while it runs, and says
 * how it ended without them. What it has named stays as long as there is output of the attempt that was not sent.
 */
export function maskingExecutor(
  base: Executor<Assignment>,
  { maskFiles, spools }: MaskingOptions,
): Executor<Assignment> {
  return {
    async execute(task, stop) {
      const spool = spoolName(task);
      const path = join(maskFiles, spool);
      await mkdir(maskFiles, { recursive: true, mode: 0o700 });
      const file = openMaskFile(path, { isNew: true });
      try {
        const hidden = attemptMasking(task.secrets?.values ?? [], file);
        const done = await masked(() => base.execute({ ...task, masking: hidden }, stop), hidden.now);
        const { incomplete } = file.look();
        if (incomplete !== undefined && !hasNoOutcome(done)) {
          done.ending = create(EndingSchema, { kind: EndingKind.REFUSED, detail: incomplete });
        }
        return done;
      } finally {
        file.close();
        if (!existsSync(join(spools, spool))) await rm(path, { force: true });
      }
    },
  };
}

/** The same for what has no log and names no secrets: only how it ended is said without those that it was given. */
export function endingMaskingExecutor(base: Executor<Assignment>): Executor<Assignment> {
  return {
    async execute(task, stop) {
      const hidden = masking(task.secrets?.values ?? []);
      return await masked(
        () => base.execute(task, stop),
        () => hidden,
      );
    },
  };
}

/** The conclusion or the error of an attempt, without the secrets that there are when it has ended. */
async function masked(execute: () => Promise<Conclusion>, hidden: () => Masking): Promise<Conclusion> {
  try {
    const done = await execute();
    done.ending.detail = hidden().text(done.ending.detail);
    return done;
  } catch (error) {
    const { code, message } = from(error);
    const text = hidden().text(message);
    throw text === message ? error : new MillraceError(code, text);
  }
}

function hasNoOutcome({ ending: { kind } }: Conclusion): boolean {
  return kind === EndingKind.CANCELLED || kind === EndingKind.INFRASTRUCTURE || kind === EndingKind.AGENT_LOST;
}

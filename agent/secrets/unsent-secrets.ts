import { existsSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { MillraceError } from "../../shared/errors.ts";
import { type AttemptMasking, attemptMasking } from "./attempt-masking.ts";
import type { Envelopes } from "./envelopes.ts";
import { maskVariable, openMaskFile } from "./mask-file.ts";

/** The secrets of attempts whose output an earlier start of the agent left on this machine. */
export interface UnsentSecrets {
  /** What hides them in the output with this name. Throws when nobody can say any more what they are. */
  maskingOf(spool: string): Promise<Pick<AttemptMasking, "now">>;
  /** The output is not here any more. */
  forget(spool: string): Promise<void>;
  /** Forgets all but those of these outputs. */
  keepOnly(spools: readonly string[]): Promise<void>;
}

export interface UnsentSecretsOptions {
  readonly envelopes: Pick<Envelopes, "folder" | "secretsOf" | "forget">;
  /** See maskingExecutor. */
  readonly maskFiles: string;
}

export function unsentSecrets({ envelopes, maskFiles }: UnsentSecretsOptions): UnsentSecrets {
  /** A version of the agent that knew of no such files left none; from then on, each attempt has one as long as its output. */
  const areKept = existsSync(maskFiles);
  return {
    async maskingOf(spool) {
      const given = await envelopes.secretsOf(spool);
      const path = join(maskFiles, spool);
      if (!existsSync(path)) {
        if (!areKept) return attemptMasking(given);
        throw new MillraceError("data_loss", `the file of ${maskVariable} is gone: its task may have removed it`);
      }
      const file = openMaskFile(path, { isNew: false });
      try {
        const hidden = attemptMasking(given, file).now(); // nobody names more
        return { now: () => hidden };
      } finally {
        file.close();
      }
    },
    async forget(spool) {
      await envelopes.forget(spool);
      await rm(join(maskFiles, spool), { force: true });
    },
    async keepOnly(spools) {
      for (const folder of [envelopes.folder, maskFiles]) {
        await mkdir(folder, { recursive: true, mode: 0o700 });
        for (const name of await readdir(folder)) {
          if (!spools.includes(name)) await rm(join(folder, name), { force: true });
        }
      }
    },
  };
}

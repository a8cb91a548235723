import { isUtf8 } from "node:buffer";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { SecretValue } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { shellVariables } from "../../shared/shell-variables.ts";
import { type Assignment, type Executor, type OpenSecrets, Refused } from "../executor/executor.ts";
import { spoolName } from "../logs/spool-name.ts";
import { type Envelopes, namedSecrets } from "./envelopes.ts";
import type { SecretFiles } from "./secret-files.ts";

export interface UnsealingOptions {
  readonly envelopes: Envelopes;
  readonly files: SecretFiles;
  /** Where the output of attempts is; see loggingExecutor. */
  readonly spools: string;
}

/**
 * Opens the sealed secrets of an attempt for the layers below, which hide them, and takes them away after it. Their envelope
 * stays as long as there is output of the attempt that was not sent.
 */
export function unsealingExecutor(base: Executor<Assignment>, options: UnsealingOptions): Executor<Assignment> {
  const { envelopes, files, spools } = options;
  return {
    async execute(task, stop) {
      const values = await envelopes.open(task);
      if (values === undefined) return await base.execute(task, stop);
      const spool = spoolName(task);
      let folder: string | undefined;
      try {
        const inFiles = values.filter(({ use }) => use?.file === true);
        if (inFiles.length > 0)
          folder = await files.place(spool, new Map(inFiles.map((each) => [envOf(each), each.value])));
        const environment = environmentOf(values, folder);
        const secrets: OpenSecrets = {
          values: namedSecrets(values),
          environment,
          ...(folder === undefined ? {} : { folder }),
        };
        return await base.execute({ ...task, secrets }, stop);
      } finally {
        if (folder !== undefined) await files.remove(folder);
        if (!existsSync(join(spools, spool))) await envelopes.forget(spool);
      }
    },
  };
}

/** @throws Refused for a value that no variable can hold, and for a variable that shells keep for themselves */
function environmentOf(values: readonly SecretValue[], folder: string | undefined): Record<string, string> {
  const variables = values.map((each): [string, string] => {
    const env = envOf(each);
    if (each.use?.file === true) return [env, join(folder ?? "", env)];
    if (shellVariables.has(env)) {
      // It would have to be an argument of `env`, which everybody on the machine can read.
      throw new Refused(`no secret can be in ${env}, a variable that shells set by themselves: give it another name`);
    }
    const why = each.value.includes(0) ? "holds a zero byte" : isUtf8(each.value) ? undefined : "is not text in UTF-8";
    if (why === undefined) return [env, Buffer.from(each.value).toString()];
    const secret = each.use?.secret;
    throw new Refused(
      `the value of the secret ${secret} ${why}, so no variable can hold it: give it as a file, with \`${env}: { secret: ${secret}, file: true }\``,
    );
  });
  return Object.fromEntries(variables);
}

function envOf({ use }: SecretValue): string {
  return use?.env ?? "";
}

import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Assign, AssignSchema, EpochSchema, type SecretValue } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import type { NamedSecret } from "../../shared/masking/patterns.ts";
import { writePrivateFile } from "../../shared/private-file.ts";
import { openSecrets, type SealingKey } from "../../shared/sealing/sealed-secrets.ts";
import type { Assignment } from "../executor/executor.ts";
import { spoolName } from "../logs/spool-name.ts";

/**
 * Sealed secrets of attempts whose output is still on this machine, so that the next start of the agent can mask what this
 * one did not send. They are kept as they came: the values are in no file.
 */
export interface Envelopes {
  /** Holds a file for each, named as its spool file. */
  readonly folder: string;
  /** The secrets of an attempt, on disk in their envelope when it resolves; undefined when it has none. */
  open(task: Assignment): Promise<SecretValue[] | undefined>;
  /** The secrets of the attempt with this spool file; none when it had none. Throws when they cannot be opened. */
  secretsOf(spool: string): Promise<readonly NamedSecret[]>;
  /** The attempt's output is not here any more. */
  forget(spool: string): Promise<void>;
}

export interface EnvelopesOptions {
  readonly folder: string;
  readonly agentId: string;
  readonly key: SealingKey;
}

export function envelopes({ folder, agentId, key }: EnvelopesOptions): Envelopes {
  const path = (spool: string) => join(folder, spool);

  function opened({ executionId, epoch = create(EpochSchema), sealedSecrets }: Assign): SecretValue[] {
    if (sealedSecrets === undefined) throw new MillraceError("data_loss", `${executionId}: its envelope is empty`);
    return openSecrets(key, { agentId, executionId, epoch }, sealedSecrets);
  }

  return {
    folder,
    async open({ executionId, epoch, attempt, sealedSecrets }) {
      if (sealedSecrets === undefined) return undefined;
      const message = create(AssignSchema, { executionId, epoch, attempt, sealedSecrets });
      const values = opened(message);
      const text = Buffer.from(toBinary(AssignSchema, message)).toString("base64");
      writePrivateFile(path(spoolName({ executionId, attempt })), text, { durable: true });
      return values;
    },
    async secretsOf(spool) {
      let text: string;
      try {
        text = await readFile(path(spool), "utf8");
      } catch (error) {
        const failure = from(error, `reading the sealed secrets of ${spool}`);
        if (failure.code === "not_found") return [];
        throw failure;
      }
      return namedSecrets(opened(fromBinary(AssignSchema, Buffer.from(text, "base64"))));
    },
    forget: (spool) => rm(path(spool), { force: true }),
  };
}

/** The values by the names of their secrets. */
export function namedSecrets(values: readonly SecretValue[]): NamedSecret[] {
  return values.map(({ use, value }) => ({ name: use?.secret ?? "", value }));
}

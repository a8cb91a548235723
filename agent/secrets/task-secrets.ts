import type { Assignment, Executor } from "../executor/executor.ts";
import { type Envelopes, envelopes } from "./envelopes.ts";
import { openSealingKey } from "./sealing-key.ts";
import { openSecretFiles } from "./secret-files.ts";
import { unsealingExecutor } from "./unsealing-executor.ts";

/** What an agent needs for tasks that use secrets. */
export interface TaskSecrets {
  /** What secrets are to be sealed to. */
  readonly publicKey: Uint8Array;
  readonly envelopes: Envelopes;
  /** Opens the secrets of what it is given for the layers below. */
  unsealing(base: Executor<Assignment>): Executor<Assignment>;
  /** Leaves nothing of them outside of the agent's folder. */
  close(): Promise<void>;
}

export interface TaskSecretsOptions {
  readonly agentId: string;
  /** Of no other agent on this machine. */
  readonly name: string;
  /** Gives a path in the agent's data folder. */
  readonly folder: (name: string) => string;
}

/** @throws MillraceError data_loss when the agent's key for secrets is damaged */
export async function openTaskSecrets({ agentId, name, folder }: TaskSecretsOptions): Promise<TaskSecrets> {
  const key = openSealingKey(folder("sealing.key"));
  const kept = envelopes({ folder: folder("sealed"), agentId, key });
  const files = await openSecretFiles(name, folder("secret-files"));
  return {
    publicKey: key.publicKey,
    envelopes: kept,
    unsealing: (base) => unsealingExecutor(base, { envelopes: kept, files, spools: folder("spool") }),
    close: () => files.close(),
  };
}

import type { Assignment, Executor } from "../executor/executor.ts";
import { envelopes } from "./envelopes.ts";
import { endingMaskingExecutor, maskingExecutor } from "./masking-executor.ts";
import { openSealingKey } from "./sealing-key.ts";
import { openSecretFiles } from "./secret-files.ts";
import { unsealingExecutor } from "./unsealing-executor.ts";
import { type UnsentSecrets, unsentSecrets } from "./unsent-secrets.ts";

/** What an agent needs for tasks that use secrets. */
export interface TaskSecrets {
  /** What secrets are to be sealed to. */
  readonly publicKey: Uint8Array;
  readonly unsent: UnsentSecrets;
  /** Opens the secrets of tasks for the layers below, and hides them with those that tasks name themselves. */
  ofTasks(base: Executor<Assignment>): Executor<Assignment>;
  /** Opens those of imports, which have no log. */
  ofImports(base: Executor<Assignment>): Executor<Assignment>;
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
  const maskFiles = folder("masks");
  const files = await openSecretFiles(name, folder("secret-files"));
  const spools = folder("spool");
  const unsealing = (base: Executor<Assignment>) => unsealingExecutor(base, { envelopes: kept, files, spools });
  return {
    publicKey: key.publicKey,
    unsent: unsentSecrets({ envelopes: kept, maskFiles }),
    ofTasks: (base) => unsealing(maskingExecutor(base, { maskFiles, spools })),
    ofImports: (base) => unsealing(endingMaskingExecutor(base)),
    close: () => files.close(),
  };
}

import type { SealedSecrets, TaskSecrets } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";

/** To whom, and for which attempt. */
export interface SealTo {
  readonly agentId: string;
  readonly executionId: string;
  readonly epoch: { readonly term: number; readonly number: number };
}

/** What came of sealing. */
export type Sealing =
  | { readonly kind: "sealed"; readonly sealed: SealedSecrets }
  /** This agent cannot be given any; another one may. */
  | { readonly kind: "unfit"; readonly why: string }
  /** Nobody can: tried again it would come to the same. */
  | { readonly kind: "impossible"; readonly why: string };

/**
 * Gives the values of secrets to the one agent that an execution is handed to. Called for each attempt just before the
 * agent hears of it, possibly for several at a time; the farm knows nothing else of secrets.
 */
export interface SecretSealer {
  seal(secrets: TaskSecrets, to: SealTo): Promise<Sealing>;
}

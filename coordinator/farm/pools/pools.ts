/** Who starts and ends the agents of a pool. */
export type ProviderSettings =
  /** People. */
  | { readonly kind: "static" }
  /** The coordinator, as processes of its own machine. */
  | { readonly kind: "local-process" }
  /** A program: an absolute path and its first arguments. */
  | { readonly kind: "exec"; readonly command: readonly string[] };

/** What an admin says of a pool. Bounds and defaults stand in `pool.proto`. */
export interface PoolSettings {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  readonly targetWaitMs: number;
  readonly idleTimeoutMs: number;
  readonly joinTimeoutMs: number;
  readonly ephemeral: boolean;
  /** Of each agent. */
  readonly slots: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly provider: ProviderSettings;
}

/** What is in the way of a pool. */
export interface PoolTrouble {
  /** For a person. */
  readonly message: string;
  /** Wall time. */
  readonly timeMs: number;
  /** In a row. */
  readonly failures: number;
  /** Wall time of the next try. */
  readonly retryMs: number;
}

/** A pool as it is now; fields as in the message `Pool`. */
export interface PoolNow {
  readonly settings: PoolSettings;
  readonly wanted: number;
  readonly ready: number;
  readonly starting: number;
  readonly leaving: number;
  readonly queued: number;
  readonly running: number;
  readonly taskTimeMs: number | undefined;
  readonly trouble: PoolTrouble | undefined;
  readonly isRemoving: boolean;
}

/** The pools of the farm. Changes resolve when they are durable; what follows from them happens behind. */
export interface Pools {
  /** By name; also those that only their agents name. */
  list(): readonly PoolNow[];
  /** Throws `invalid_argument` with every problem, `failed_precondition` as said in `pool.proto`. */
  set(settings: PoolSettings): Promise<PoolNow>;
  /** Throws `not_found`, `invalid_argument`, `failed_precondition`. */
  scale(name: string, bounds: Pick<PoolSettings, "min" | "max">): Promise<PoolNow>;
  /** Begins to. Throws `not_found`, `failed_precondition`. */
  remove(name: string): Promise<void>;
}

/** What is known of a secret; its value is not. */
export interface SecretInfo {
  readonly project: string;
  readonly name: string;
  /** 1 for the first value; grows with each, also after a removal. */
  readonly generation: number;
  /** Wall time. */
  readonly setMs: number;
  /** A principal. */
  readonly setBy: string;
}

/** Names a secret. */
export interface SecretName {
  readonly project: string;
  /** `[a-z0-9][a-z0-9_-]{0,62}`. */
  readonly name: string;
}

/** The secrets of all projects, as people see them. Methods may be called concurrently. */
export interface Secrets {
  /**
   * Resolves when the value is durable. Throws `invalid_argument` for a name or a value out of bounds, `resource_exhausted`
   * when the project has too many.
   */
  set(secret: SecretName, value: Uint8Array, by: string): Promise<SecretInfo>;
  /** By name. */
  list(project: string): readonly SecretInfo[];
  /** Throws `not_found`. */
  remove(secret: SecretName, by: string): Promise<void>;
  /** Encrypts every value under a new key, and forgets the one before; resolves with the new key's id and how many. */
  rotateKey(): Promise<{ readonly keyId: string; readonly secrets: number }>;
}

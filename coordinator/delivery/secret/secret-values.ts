/** What of secrets the parts need that give them to tasks. Methods may be called concurrently. */
export interface SecretValues {
  /** Those of these names that have no value at this moment. */
  missing(project: string, names: readonly string[]): string[];
  /** The values as they are at this moment, by name; those that have none are left out. For nobody but who seals them. */
  read(project: string, names: readonly string[]): Promise<ReadonlyMap<string, Uint8Array>>;
  /** Listeners are called when a secret was given a value, and must not throw. */
  subscribe(listener: (project: string, name: string) => void): () => void;
}

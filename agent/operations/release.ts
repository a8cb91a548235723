import type { DigestKey } from "../../shared/digest.ts";

/** A release as it runs: its bytes and how they are started and asked. Two that are equal need no deployment. */
export interface Release {
  /** Of its root Directory. */
  readonly digest: DigestKey;
  readonly arguments: readonly string[];
  /** Sorted by name. */
  readonly environment: Readonly<Record<string, string>>;
  readonly probeUrl: string;
  readonly probeTimeoutMs: number;
}

/** Where a release goes: one app in one environment has one current release. */
export interface Target {
  readonly environment: string;
  readonly app: string;
}

/** The name of the target's unit. */
export function unitName({ environment, app }: Target): string {
  return `${environment}.${app}`;
}

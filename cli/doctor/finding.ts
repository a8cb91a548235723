/** What one check found. */
export interface Finding {
  readonly check: string;
  /** `skipped`: another check that failed stands in its way. */
  readonly status: "ok" | "warning" | "failed" | "skipped";
  /** For a person: what is there. */
  readonly detail: string;
  /** What to do about it; absent when there is nothing to do. */
  readonly fix?: string;
}

/** Whether what was checked will work, perhaps not at its best. */
export function isHealthy(findings: readonly Finding[]): boolean {
  return findings.every(({ status }) => status === "ok" || status === "warning");
}

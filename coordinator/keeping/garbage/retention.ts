import type { RetentionPolicy } from "../../delivery/project/retention.ts";

/** A run as retention sees it. */
export interface RunAge {
  readonly run: string;
  readonly project: string;
  /** Undefined while it has not finished. */
  readonly finishedMs: number | undefined;
  /** By a person, or because an environment needs it. */
  readonly pinned: boolean;
}

export interface RetentionChoice {
  /** With everything that is theirs. */
  readonly expired: readonly RunAge[];
  readonly logsExpired: readonly RunAge[];
  /** Those whose artifacts are kept, pinned ones among them. */
  readonly artifactsKept: readonly RunAge[];
}

/**
 * What of runs is over its time. A run that has not finished or is pinned stays whole. The newest run of all stays in any
 * case: the number of the next one follows from it, and a number must not be given twice.
 * @param runs newest first
 */
export function chooseByAge(
  runs: readonly RunAge[],
  policyOf: (project: string) => RetentionPolicy,
  nowMs: number,
): RetentionChoice {
  const [expired, logsExpired, artifactsKept]: [RunAge[], RunAge[], RunAge[]] = [[], [], []];
  const counts = new Map<string, number>();
  for (const [index, run] of runs.entries()) {
    const { project, finishedMs, pinned } = run;
    if (finishedMs === undefined) continue;
    const policy = policyOf(project);
    const count = (counts.get(project) ?? 0) + 1;
    counts.set(project, count);
    const ageMs = nowMs - finishedMs;
    if (pinned) {
      artifactsKept.push(run);
    } else if (index > 0 && (count > policy.runsMax || ageMs > policy.runAgeMs)) {
      expired.push(run);
    } else {
      if (ageMs > policy.logAgeMs) logsExpired.push(run);
      if (ageMs <= policy.artifactAgeMs) artifactsKept.push(run);
    }
  }
  return { expired, logsExpired, artifactsKept };
}

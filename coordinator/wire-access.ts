import { join } from "node:path";
import type { Clock } from "../shared/clock.ts";
import type { Sqlite } from "../shared/sqlite/sqlite.ts";
import type { Belongings } from "./api/admission.ts";
import { openTokens } from "./delivery/access/tokens.ts";
import type { Environments } from "./delivery/environment/environments.ts";
import { openProjects, type StoredProjectsDeps } from "./delivery/project/stored-projects.ts";
import { approvedCandidates, type CandidatesDeps } from "./delivery/run/candidates.ts";
import type { KeptRuns, RunProjects } from "./delivery/run/runs.ts";

export interface AccessParts {
  readonly data: string;
  readonly sqlite: Sqlite;
  readonly store: StoredProjectsDeps["store"] & CandidatesDeps["store"];
  readonly fingerprint: string | undefined;
  readonly clock: Clock;
  readonly environments: Pick<Environments, "projectOf">;
  readonly onError: (error: unknown) => void;
  /** Asked once they are there: runs need projects, and projects are asked for runs. */
  readonly runs: () => RunProjects & Pick<KeptRuns, "active">;
}

/** Who may do what, where, and what belongs to whom. */
export async function wireAccess({
  data,
  sqlite,
  store,
  fingerprint,
  clock,
  environments,
  onError,
  runs,
}: AccessParts) {
  const unfinishedRuns = (project: string) =>
    runs()
      .active()
      .filter((run) => run.project === project).length;
  const tokens = await openTokens({ sqlite, dir: join(data, "tokens"), fingerprint, clock });
  const projects = await openProjects({ store, clock, unfinishedRuns });
  const belongings: Belongings = {
    projectOfRun: (run) => runs().projectOf(run),
    projectOfEnvironment: environments.projectOf,
  };
  const candidates = approvedCandidates({ sqlite, store, clock, onError });
  return { tokens, projects, candidates, belongings };
}

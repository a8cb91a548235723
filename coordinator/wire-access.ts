import { join } from "node:path";
import { AuditService } from "../proto/gen/millrace/v1/audit_pb.ts";
import { ProjectService } from "../proto/gen/millrace/v1/project_pb.ts";
import type { Clock } from "../shared/clock.ts";
import type { Component } from "../shared/lifecycle.ts";
import type { Sqlite } from "../shared/sqlite/sqlite.ts";
import type { Belongings } from "./api/admission.ts";
import { type AuthenticateDeps, authenticator } from "./api/authenticate.ts";
import { auditService } from "./api/grpc/audit-service.ts";
import { type MountedService, mounted } from "./api/grpc/grpc-server.ts";
import { projectService } from "./api/grpc/project-service.ts";
import { openTokens } from "./delivery/access/tokens.ts";
import { storedAudit } from "./delivery/audit/stored-audit.ts";
import { settlingProjects } from "./delivery/concurrency/settling-projects.ts";
import type { Environments } from "./delivery/environment/environments.ts";
import { openProjects, type StoredProjectsDeps } from "./delivery/project/stored-projects.ts";
import { approvedCandidates, type CandidatesDeps } from "./delivery/run/approved-candidates.ts";
import type { RunEngine } from "./delivery/run/run-engine.ts";
import type { KeptRuns, RunProjects } from "./delivery/run/runs.ts";
import type { Secrets } from "./delivery/secret/secrets.ts";

export interface AccessParts {
  readonly data: string;
  readonly sqlite: Sqlite;
  readonly store: StoredProjectsDeps["store"] & CandidatesDeps["store"];
  readonly fingerprint: string | undefined;
  readonly clock: Clock;
  readonly environments: Pick<Environments, "projectOf">;
  readonly secrets: Pick<Secrets, "list">;
  readonly enrolmentTokens: AuthenticateDeps["enrolmentTokens"];
  readonly onError: (error: unknown) => void;
  /** Asked once they are there: runs need projects, and projects are asked for runs. */
  readonly runs: () => RunProjects & Pick<KeptRuns, "active"> & Pick<RunEngine, "quotasChanged">;
}

/** Who may do what, where, and what belongs to whom. */
export async function wireAccess(parts: AccessParts) {
  const { data, sqlite, store, fingerprint, clock, environments, secrets, enrolmentTokens, onError, runs } = parts;
  const unfinishedRuns = (project: string) =>
    runs()
      .active()
      .filter((run) => run.project === project).length;
  const tokens = await openTokens({ sqlite, dir: join(data, "tokens"), fingerprint, clock });
  const projects = await openProjects({
    store,
    clock,
    unfinishedRuns,
    secretsOf: (project) => secrets.list(project).length,
  });
  const belongings: Belongings = {
    projectOfRun: (run) => runs().projectOf(run),
    projectOfEnvironment: environments.projectOf,
  };
  const candidates = approvedCandidates({ sqlite, store, clock, onError });
  const audit = storedAudit({ sqlite, store, clock, onError });
  const guards = { authenticate: authenticator({ tokens, enrolmentTokens }), belongings, audit };
  const services: MountedService[] = [
    mounted(ProjectService, projectService(settlingProjects(projects, () => runs().quotasChanged()))),
    mounted(AuditService, auditService(audit)),
  ];
  const components: Component[] = [candidates, audit];
  return { tokens, projects, candidates, guards, services, components };
}

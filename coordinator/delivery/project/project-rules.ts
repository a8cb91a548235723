import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Project, ProjectRetention } from "../../../proto/gen/millrace/v1/event_pb.ts";
import { from } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { namePattern } from "../../../shared/pipeline/reading.ts";
import { checkKnownHosts, checkRef, parseRepository } from "../../../shared/source/repository.ts";

/** What is wrong with a field of a project, for a person. */
export interface ProjectProblem {
  /** As in the message, for example `quotas.running_tasks`. */
  readonly field: string;
  readonly description: string;
}

const nameWords = "1 to 63 of a-z, 0-9, - and _, beginning with a letter or a digit";

/** Everything that is wrong with the settings of a project; empty when nothing is. */
export function projectProblems(project: Project): ProjectProblem[] {
  const { name, title, repository, defaultBranch, credentialsSecret, webhookSecret, cacheZone, quotas } = project;
  const { knownHosts } = project;
  const problems: ProjectProblem[] = [];
  const check = (field: string, wrong: string | undefined): void => {
    if (wrong !== undefined) problems.push({ field, description: wrong });
  };
  const named = (text: string) => (namePattern.test(text) ? undefined : `"${text}" is no name: give ${nameWords}`);
  const optional = (text: string) => (text === "" ? undefined : named(text));
  check("name", named(name));
  check("title", title.length <= limits.projectTitleChars ? undefined : `is longer than ${limits.projectTitleChars}`);
  check("repository", repository === "" ? undefined : refusal(() => parseRepository(repository)));
  check("default_branch", defaultBranch === "" ? undefined : refusal(() => checkRef(defaultBranch)));
  check("credentials_secret", optional(credentialsSecret));
  check("known_hosts", knownHosts === "" ? undefined : refusal(() => checkKnownHosts(knownHosts)));
  check("webhook_secret", optional(webhookSecret));
  check("cache_zone", optional(cacheZone));
  const bound = (value: number | undefined) => ((value ?? 0) >= 0 ? undefined : "is less than 0: 0 means no bound");
  check("quotas.running_tasks", bound(quotas?.runningTasks));
  check("quotas.unfinished_runs", bound(quotas?.unfinishedRuns));
  for (const [field, wrong] of retentionProblems(project.retention)) check(`retention.${field}`, wrong);
  return problems;
}

/** What `check` throws, as what is wrong. */
function refusal(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    return from(error).message;
  }
}

function retentionProblems(retention: ProjectRetention | undefined): (readonly [string, string | undefined])[] {
  if (retention === undefined) return [];
  const { runsMax, runAge, logAge, artifactAge } = retention;
  const age = (duration: Parameters<typeof durationMs>[0] | undefined) =>
    duration === undefined || durationMs(duration) > 0 ? undefined : "must be longer than 0";
  return [
    ["runs_max", runsMax === undefined || runsMax >= 1 ? undefined : "must be at least 1"],
    ["run_age", age(runAge)],
    ["log_age", age(logAge)],
    ["artifact_age", age(artifactAge)],
  ];
}

import { randomUUID } from "node:crypto";
import type { ProjectView } from "./delivery/project/projects.ts";
import { type FarmImportsDeps, farmImports } from "./delivery/source/farm-imports.ts";
import { type GitSubmitsDeps, gitSubmits } from "./delivery/source/git-submits.ts";
import { isImport } from "./delivery/source/source-imports.ts";
import type { LogStore } from "./farm/logs/log-store.ts";

export interface SourceParts extends Omit<FarmImportsDeps, "newId"> {
  readonly runs: GitSubmitsDeps["runs"];
  readonly summaries: Pick<GitSubmitsDeps, "lastCommits">;
  readonly projects: Pick<ProjectView, "find">;
}

/** Runs of git commits, and the part that is started for them. */
export function wireSources({ runs, summaries, projects, ...farm }: SourceParts) {
  const imports = farmImports({ ...farm, newId: randomUUID });
  const lastCommits: GitSubmitsDeps["lastCommits"] = (of) => summaries.lastCommits(of);
  const repositoryOf: GitSubmitsDeps["repositoryOf"] = (name) => {
    const project = projects.find(name);
    if (project === undefined || project.repository === "") return undefined;
    const { repository: url, defaultBranch, credentialsSecret, knownHosts, trustFirstHostKey } = project;
    return { url, defaultBranch, credentialsSecret, knownHosts, trustFirstHostKey };
  };
  return { imports, gits: gitSubmits({ runs, imports, repositoryOf, lastCommits }) };
}

/** Ends the log of an attempt that writes no more; imports have none. */
export function endLogsIn(logs: Pick<LogStore, "finish">) {
  return async (executionId: string, attempt: number): Promise<void> => {
    if (!isImport(executionId)) await logs.finish({ executionId, attempt }, "gap");
  };
}

import type { StorageOwner } from "../shared/disk-space.ts";
import { limits } from "../shared/limits.ts";
import { importProperty, repositoryCredentials } from "../shared/source/import-property.ts";
import { concludingExecutor } from "./executor/concluding-executor.ts";
import type { Assignment, Executor } from "./executor/executor.ts";
import { gitProgram } from "./source/git.ts";
import { type ImportingOptions, importingExecutor } from "./source/importing-executor.ts";
import { openMirrors } from "./source/mirrors.ts";
import { repositoryAccess } from "./source/repository-access.ts";
import type { FoundTool } from "./tools/probe-tool.ts";
import type { MachineParts } from "./wire-operations.ts";

export interface SourceParts extends Omit<MachineParts, "opened"> {
  /** Where git is looked for. */
  readonly path: string;
  readonly allowedPaths: readonly string[] | undefined;
  readonly own: StorageOwner;
}

/** What brings sources into the CAS. It has no log: what there is to say is in its report. */
export async function wireSource(parts: SourceParts): Promise<Executor<Assignment>> {
  const { database, folder, farm, patiently, clock, onError, path, allowedPaths = [], own } = parts;
  const git = gitProgram({ path, folder: folder("source"), allowedPaths });
  const mirrors = await openMirrors({ database, folder: folder("source/mirrors"), clock, onError });
  const accessOf: ImportingOptions["accessOf"] = (request, secrets) =>
    repositoryAccess({
      ...request,
      credentials: secrets?.environment[repositoryCredentials],
      ...{ path, folder: folder("source") },
    });
  const imports = importingExecutor({
    ...{ git, mirrors, farm, patiently, allowedPaths, accessOf, clock },
    maxBytes: limits.sourceBytes,
  });
  return concludingExecutor(imports, own);
}

/** What an agent with these tools can do for sources: git takes settings from its environment since 2.31. */
export function sourceFeatures(tools: readonly Pick<FoundTool, "name" | "version">[]): readonly string[] {
  const git = tools.find(({ name }) => name === "git");
  const [major = 0, minor = 0] = (git?.version ?? "").split(".").map(Number);
  return major > 2 || (major === 2 && minor >= 31) ? [importProperty] : [];
}

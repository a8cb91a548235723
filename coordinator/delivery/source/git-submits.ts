import type { BranchCommit } from "../../../proto/gen/millrace/v1/dispatch_pb.ts";
import { type GitRef, ImportState, type RunRequest } from "../../../proto/gen/millrace/v1/run_pb.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { pipelinePathsOf } from "../../../shared/pipeline/pipeline-path.ts";
import { checkRef, parseRepository } from "../../../shared/source/repository.ts";
import { projectNamed } from "../project/projects.ts";
import type { Asker, Runs } from "../run/runs.ts";
import type { OnImportProgress, SourceImports } from "./source-imports.ts";

/** Runs of commits, as the faces of the product start them. May be called concurrently. */
export interface GitSubmits {
  /**
   * Imports a commit and starts a run of it, as `Runs.submit`; throws what that and `SourceImports.import` throw.
   * `onProgress` is told each state once, in order, from that in which it waits for an agent.
   */
  submit(asker: Asker, submit: GitSubmit, signal: AbortSignal): Promise<string>;
}

/** A run that is asked for. */
export interface GitSubmit {
  readonly request: RunRequest;
  readonly git: GitRef;
  readonly onProgress?: OnImportProgress;
}

/** Where the source of a project is. */
export interface ProjectRepository {
  readonly url: string;
  /** Empty: the repository's own. */
  readonly defaultBranch: string;
  /** The secret of the project that opens it; empty: none is needed. */
  readonly credentialsSecret: string;
  /** As in Project. */
  readonly knownHosts: string;
  readonly trustFirstHostKey: boolean;
}

export interface GitSubmitsDeps {
  readonly runs: Pick<Runs, "submit">;
  readonly imports: SourceImports;
  /** The repository of a project; undefined when it has none. */
  readonly repositoryOf: (project: string) => ProjectRepository | undefined;
  /** What the last runs of a pipeline on each branch of a repository were about, the newest first. */
  readonly lastCommits: (of: PipelineOfRepository) => Promise<readonly BranchCommit[]>;
}

/** Runs that follow each other: of one pipeline file in one repository. */
export interface PipelineOfRepository {
  readonly project: string;
  /** One of them; which one is known when there is a source. */
  readonly pipelinePaths: readonly string[];
  readonly url: string;
}

/** Of a repository that no project calls its own. */
const stranger = { defaultBranch: "", credentialsSecret: "", knownHosts: "", trustFirstHostKey: false };

export function gitSubmits({ runs, imports, repositoryOf, lastCommits }: GitSubmitsDeps): GitSubmits {
  /** The address and the ref that are meant, and how to get in there. */
  function complete({ url, ref }: GitRef, project: string) {
    const own = repositoryOf(project);
    if (url === "" && own === undefined) {
      throw new MillraceError("invalid_argument", `the project ${project} has no repository: name one with --git URL`);
    }
    const isOwn = own !== undefined && (url === "" || url === own.url);
    // What a project says of its own repository holds for no other: it is shown no credentials and believed nothing.
    const meant = isOwn ? { ...own, ref: ref || own.defaultBranch } : { ...stranger, url, ref };
    parseRepository(meant.url);
    if (meant.ref !== "") checkRef(meant.ref);
    const { defaultBranch: _, ...repository } = meant;
    return repository;
  }

  return {
    async submit(asker, { request, git, onProgress = () => {} }, signal) {
      const project = projectNamed(request.project);
      const repository = complete(git, project);
      const pipelinePaths = pipelinePathsOf(request.pipelinePath);
      const supply = async (whole: boolean) => {
        onProgress(ImportState.WAITING, "");
        const previous = await lastCommits({ project, pipelinePaths, url: repository.url });
        return await imports.import({ project, ...repository, previous, whole }, signal, onProgress);
      };
      return await runs.submit(asker, request, supply, { signal, onProgress });
    },
  };
}

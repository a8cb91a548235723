import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type GitSource, GitSourceSchema } from "../../../proto/gen/millrace/v1/event_pb.ts";
import {
  type ImportState,
  RunRequestSchema,
  type SubmitRunRequest,
  type SubmitRunWithProgressResponseSchema,
} from "../../../proto/gen/millrace/v1/run_pb.ts";
import { changes } from "../../../shared/changes.ts";
import { digestFromMessage } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { isCommitId, withoutCredentials } from "../../../shared/source/repository.ts";
import type { Asker, Runs } from "../../delivery/run/runs.ts";
import type { GitSubmits } from "../../delivery/source/git-submits.ts";
import type { OnImportProgress } from "../../delivery/source/source-imports.ts";

export interface Submitting {
  readonly runs: Pick<Runs, "submit">;
  readonly gits: GitSubmits;
}

export interface SubmitOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: OnImportProgress;
}

/** Starts a run of what a request names: a tree that a client has sent, or a commit. Resolves with the run's name. */
export async function submitSource(
  { runs, gits }: Submitting,
  asker: Asker,
  { run: request = create(RunRequestSchema), source, git, checkout }: SubmitRunRequest,
  { signal, onProgress }: SubmitOptions,
): Promise<string> {
  if (git === undefined) {
    const tree = { root: digestFromMessage(source, "source"), git: saidOf(checkout) };
    return await runs.submit(asker, request, tree, { signal, onProgress });
  }
  if (source !== undefined) {
    throw new MillraceError("invalid_argument", "a run is of a tree (`source`) or of a commit (`git`), not of both");
  }
  return await gits.submit(asker, { request, git, ...(onProgress && { onProgress }) }, signal);
}

/** Of what a client says of its checkout, what decides nothing: the rest only the agent that imports a commit can say. */
function saidOf(checkout: GitSource | undefined): GitSource | undefined {
  if (checkout === undefined) return undefined;
  const { url, ref, branch, commit, dirty } = checkout;
  const isTooLong = url.length > limits.repositoryUrlChars || Math.max(ref.length, branch.length) > limits.refChars;
  if (isTooLong || !isCommitId(commit)) {
    throw new MillraceError(
      "invalid_argument",
      "`checkout` names no commit by its 40 or 64 hex digits, or is too long",
    );
  }
  return create(GitSourceSchema, { url: withoutCredentials(url), ref, branch, commit, dirty });
}

type Part = MessageInitShape<typeof SubmitRunWithProgressResponseSchema>;

/** What `submitted` tells on its way and gives in the end, as messages; it is aborted when nobody reads them any more. */
export async function* withProgress(
  submitted: (onProgress: OnImportProgress, signal: AbortSignal) => Promise<string>,
  signal: AbortSignal,
): AsyncGenerator<Part> {
  const left = new AbortController();
  const changed = changes();
  /** The last that was told: who reads slowly misses only what is over. */
  let progress: { readonly state: ImportState; readonly detail: string } | undefined;
  let isOver = false;
  const inner = AbortSignal.any([signal, left.signal]);
  const run = submitted((state, detail) => {
    if (progress?.state === state && progress.detail === detail) return;
    progress = { state, detail };
    changed.announce();
  }, inner).finally(() => {
    isOver = true;
    changed.announce();
  });
  run.catch(() => {}); // awaited below, unless nobody reads any more
  try {
    for (let told: typeof progress; !isOver; ) {
      const version = changed.version();
      if (progress !== undefined && progress !== told) {
        told = progress;
        yield { part: { case: "progress", value: progress } };
      } else await changed.after(version, signal);
      signal.throwIfAborted();
    }
    yield { part: { case: "run", value: await run } };
  } finally {
    left.abort(new MillraceError("canceled", "the caller has gone"));
  }
}

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type GitCommit,
  GitCommitSchema,
  type GitSource,
  GitSourceSchema,
} from "../../proto/gen/millrace/v1/event_pb.ts";
import { from } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { compareUtf8 } from "../../shared/merkle/tree-path.ts";
import type { FetchedCommit } from "./fetch-commit.ts";
import type { Git } from "./git.ts";

export interface DescribeOptions {
  readonly git: Git;
  readonly folder: string;
  readonly url: string;
  readonly ref: string;
  /** The commit of the run before; empty when there was none. Whether the mirror has it is `isKnown`. */
  readonly previous: string;
  readonly isKnown: boolean;
  readonly signal: AbortSignal;
}

/** What a run is told of the commit that it is about, and what is new since the one before. */
export async function describeCommit({ commit, branch }: FetchedCommit, options: DescribeOptions): Promise<GitSource> {
  const { git, folder, url, ref, previous, isKnown, signal } = options;
  const run = (args: readonly string[]) => git.run(args, { folder, signal });
  const about = { url, ref, branch, commit, previousCommit: previous };
  if (previous === "" || !isKnown) {
    const commits = await listCommits(run, ["--max-count=1", commit]);
    return create(GitSourceSchema, { ...about, commits, moreCommits: previous !== "" });
  }
  const diff = ["diff-tree", "-r", "-z", "--no-renames", "--name-only", "--no-commit-id", previous, commit];
  const [listed, base, printed] = await Promise.all([
    listCommits(run, [`--max-count=${limits.sourceCommits + 1}`, commit, `^${previous}`]),
    run(["rev-list", "--max-count=1", previous, `^${commit}`]),
    run(diff).catch(tooMuch),
  ]);
  const paths = (printed ?? Buffer.alloc(0)).toString("utf8").split("\0").filter(Boolean).sort(compareUtf8);
  const changedPaths = bounded(paths);
  return create(GitSourceSchema, {
    ...about,
    commits: listed.slice(0, limits.sourceCommits),
    moreCommits: listed.length > limits.sourceCommits || base.length > 0,
    changedPaths,
    changedPathsKnown: printed !== undefined && changedPaths.length === paths.length,
  });
}

/** As many as the event of a run may hold. Those of files that are gone may have any length. */
function bounded(paths: readonly string[]): string[] {
  let bytes = 0;
  const end = paths.findIndex((path) => (bytes += Buffer.byteLength(path)) > limits.changedPathsBytes);
  return paths.slice(0, Math.min(end < 0 ? paths.length : end, limits.changedPaths));
}

/** So much has changed that nobody would look through it. */
function tooMuch(error: unknown): undefined {
  if (from(error).code !== "out_of_range") throw error;
}

async function listCommits(run: (args: readonly string[]) => Promise<Buffer>, range: readonly string[]) {
  const format = "--format=%H%n%an%n%ae%n%at%n%s";
  return parseCommits(await run(["log", "-z", "--no-show-signature", "--encoding=UTF-8", format, ...range]));
}

/** Reads commits, each of five lines (id, author, address, seconds, subject), with zero bytes between them. */
export function parseCommits(printed: Buffer): GitCommit[] {
  return printed
    .toString("utf8")
    .split("\0")
    .filter((text) => text.trim() !== "")
    .map((text) => {
      const [commit = "", authorName = "", authorEmail = "", seconds = "", subject = ""] = text.trimStart().split("\n");
      return create(GitCommitSchema, {
        commit,
        authorName: authorName.slice(0, limits.commitTextChars),
        authorEmail: authorEmail.slice(0, limits.commitTextChars),
        authorTime: timestampFromMs(1000 * (Number.parseInt(seconds, 10) || 0)),
        subject: subject.slice(0, limits.commitTextChars),
      });
    });
}

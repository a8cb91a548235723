import type { GitSource } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Colors } from "./console.ts";
import { formatAgo } from "./format.ts";
import { timeOf } from "./labels.ts";
import { safeText } from "./safe-text.ts";
import { table } from "./table.ts";

/** Commits that a person reads at once; `--json` has all that are known. */
const shown = 20;

/** The commit that a run is about, and what is new since the last run on its branch, for a person. */
export function describeGit(git: GitSource, colors: Colors, nowMs: number): string {
  const { url, ref, branch, commit, previousCommit, commits, moreCommits, changedPaths, changedPathsKnown } = git;
  const name = branch || ref;
  const where = name === "" || name === commit ? "" : ` of ${safeText(name)}`;
  const from = url === "" ? "" : ` from ${safeText(url)}`;
  const changed = git.dirty ? ", with changes that are in no commit" : "";
  const head = `commit ${colors.bold(short(commit))}${where}${from}${changed}\n`;
  if (commits.length === 0) return head;
  const paths = changedPathsKnown ? `, ${plural(changedPaths.length, "path")} changed` : "";
  const count = `${moreCommits ? "more than " : ""}${plural(commits.length, "commit")}`;
  const since =
    previousCommit === "" ? "" : colors.dim(`${count} since the last run, of ${short(previousCommit)}${paths}\n`);
  const rows = commits.slice(0, shown).map(({ commit: id, authorName, authorEmail, authorTime, subject }) => {
    const timeMs = timeOf(authorTime);
    const author = `${safeText(authorName)} <${safeText(authorEmail)}>`;
    return [short(id), author, timeMs === undefined ? "" : formatAgo(timeMs, nowMs), safeText(subject)];
  });
  const left = commits.length - rows.length;
  const more = left > 0 ? colors.dim(`and ${left} more; see --json\n`) : "";
  return `${head}${since}${rows.length === 0 ? "" : table(["COMMIT", "AUTHOR", "AGE", "SUBJECT"], rows)}${more}`;
}

function short(commit: string): string {
  return commit.slice(0, 12);
}

function plural(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

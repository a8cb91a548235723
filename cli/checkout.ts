import { execFile } from "node:child_process";
import { create } from "@bufbuild/protobuf";
import { type GitSource, GitSourceSchema } from "../proto/gen/millrace/v1/event_pb.ts";
import { limits } from "../shared/limits.ts";
import { isCommitId, withoutCredentials } from "../shared/source/repository.ts";

/**
 * What git says of a folder: the commit that is checked out, its branch, and whether the folder differs from it. Undefined
 * where there is no git, no checkout, no commit yet, or no answer in time: it is shown to people and decides nothing.
 */
export async function checkoutOf(dir: string, signal: AbortSignal): Promise<GitSource | undefined> {
  const git = (...args: string[]) => askGit(dir, args, signal);
  const [status, url] = await Promise.all([
    git("status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", "."),
    git("config", "--get", "remote.origin.url"),
  ]);
  const commit = /^# branch\.oid (\S+)$/m.exec(status ?? "")?.[1] ?? "";
  if (status === undefined || !isCommitId(commit)) return undefined;
  const head = /^# branch\.head (.+)$/m.exec(status)?.[1] ?? "";
  const branch = head === "(detached)" || head.length > limits.refChars ? "" : head;
  return create(GitSourceSchema, {
    url: withoutCredentials((url ?? "").trim()).slice(0, limits.repositoryUrlChars),
    ref: branch,
    branch,
    commit,
    dirty: /^[^#\n]/m.test(status),
  });
}

function askGit(dir: string, args: readonly string[], signal: AbortSignal): Promise<string | undefined> {
  // It must not take the index's lock from a git that a person runs at the same time.
  const env = { ...process.env, GIT_OPTIONAL_LOCKS: "0" };
  const options = { cwd: dir, env, signal, timeout: limits.checkoutMs, maxBuffer: limits.gitOutputBytes };
  return new Promise((resolve) => {
    execFile("git", [...args], options, (error, stdout) => resolve(error === null ? stdout : undefined));
  });
}

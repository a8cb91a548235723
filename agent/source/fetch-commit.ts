import { hash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { isCommitId, isRef } from "../../shared/source/repository.ts";
import { Refused } from "../executor/executor.ts";
import type { Git } from "./git.ts";
import { NoSuchObject } from "./git-failure.ts";

/** A commit that the mirror has. */
export interface FetchedCommit {
  /** 40 or 64 hex digits. */
  readonly commit: string;
  /** The branch that was asked for, or that the repository's HEAD is; empty for a tag or a bare commit. */
  readonly branch: string;
}

export interface FetchOptions {
  readonly git: Git;
  readonly folder: string;
  readonly url: string;
  /** As in SourceImport. */
  readonly ref: string;
  readonly access?: Readonly<Record<string, string>>;
  /** Told before each fetch into the mirror. */
  readonly onFetch: () => void;
  readonly signal: AbortSignal;
}

/** A name of the remote and what it stands for there. */
interface RemoteRef {
  readonly name: string;
  readonly oid: string;
  readonly branch: string;
}

/** Of its history as much as is listed, and one more to see that there is more. */
const depth = `--depth=${limits.sourceCommits + 1}`;

/**
 * Brings the commit of a ref into the mirror, with a bounded part of its history, and nothing else. The remote is asked
 * each time, also for a commit that the mirror has: whether the caller may still read there is the remote's to say.
 * @throws Refused when there is no such commit
 */
export async function fetchCommit(options: FetchOptions): Promise<FetchedCommit> {
  const { git, folder, url, ref, signal } = options;
  const found = await lookUp(options);
  const digits = found?.oid.length ?? ref.length;
  if (!existsSync(join(folder, "HEAD"))) {
    const format = digits === 64 ? "sha256" : "sha1";
    await git.run(["init", "--quiet", "--bare", "--template=", `--object-format=${format}`], { folder, signal });
  }
  if (found === undefined) return { commit: await fetchId(options, ref), branch: "" };
  const own = ownRef(found.name);
  const kept = await commitOf(options, found.oid);
  if (kept !== undefined) return { commit: kept, branch: found.branch };
  await fetch(options, [`+${found.name}:${own}`]);
  // What the fetch has brought: it may have moved on since it was looked up.
  const commit = await commitOf(options, own);
  if (commit === undefined) throw new Refused(`${found.name} of ${url} is no commit`);
  return { commit, branch: found.branch };
}

/**
 * Brings a commit into the mirror that may not be there any more; whether it is there now.
 * @param commit 40 or 64 hex digits
 */
export async function fetchOld(options: FetchOptions, commit: string): Promise<boolean> {
  if ((await commitOf(options, commit)) !== undefined) return true;
  try {
    await fetch(options, [`+${commit}:${ownRef(commit)}`], "--depth=1");
  } catch (error) {
    if (error instanceof NoSuchObject) return false;
    throw error;
  }
  return (await commitOf(options, commit)) !== undefined;
}

/** Asks the remote for the ref; undefined for a bare commit, which it need not know by a name. */
export async function lookUp({ git, url, ref, access, signal }: FetchOptions): Promise<RemoteRef | undefined> {
  const isBare = isCommitId(ref);
  const names =
    ref === "" || ref === "HEAD" || isBare
      ? ["HEAD"]
      : ref.startsWith("refs/")
        ? [ref]
        : [`refs/heads/${ref}`, `refs/tags/${ref}`];
  const args = ["ls-remote", "--symref", "--", url, ...names];
  const answer = await git.run(args, { signal, ...(access === undefined ? {} : { access }) });
  const refs = new Map<string, string>();
  let head = "";
  for (const line of answer.toString("utf8").split("\n")) {
    const [value = "", name = ""] = line.split("\t");
    if (value.startsWith("ref: ") && name === "HEAD") head = value.slice("ref: ".length);
    else if (isCommitId(value)) refs.set(name, value);
  }
  if (isBare) return undefined;
  // A branch goes before a tag of the same name.
  const name = names.find((one) => refs.has(one));
  const oid = refs.get(name ?? "");
  if (name !== undefined && oid !== undefined) return { name, oid, branch: branchOf(name === "HEAD" ? head : name) };
  if (ref === "") throw new Refused(`${url} has no HEAD that could be run: push a commit, or name a branch`);
  const isShort = /^[0-9a-f]{4,63}$/.test(ref);
  const hint = isShort ? "a commit is named by all of its digits" : "look at its name, and whether it was pushed";
  throw new Refused(`${url} has no branch or tag ${JSON.stringify(ref)}: ${hint}`);
}

/** What a remote calls its HEAD may be anything. */
function branchOf(name: string): string {
  const heads = "refs/heads/";
  const branch = name.startsWith(heads) ? name.slice(heads.length) : "";
  return isRef(branch) ? branch : "";
}

/** Some servers give a commit by its id, others only what they have a name for. */
async function fetchId(options: FetchOptions, id: string): Promise<string> {
  const { url } = options;
  const kept = await commitOf(options, id);
  if (kept !== undefined) return kept;
  try {
    await fetch(options, [`+${id}:${ownRef(id)}`]);
  } catch (error) {
    if (!(error instanceof NoSuchObject)) throw error;
    await fetch(options, ["+refs/heads/*:refs/millrace/heads/*", "+refs/tags/*:refs/millrace/tags/*"]);
  }
  const commit = await commitOf(options, id);
  if (commit !== undefined) return commit;
  throw new Refused(
    `${url} has no commit ${id}, or none within ${limits.sourceCommits} commits of a branch: it may have been replaced by a forced push`,
  );
}

async function fetch(
  { git, folder, url, access, onFetch, signal }: FetchOptions,
  refspecs: readonly string[],
  deep: string = depth,
): Promise<void> {
  onFetch();
  const quietly = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules"];
  // A shallow remote may be fetched from, and a branch may have been replaced.
  const args = ["fetch", ...quietly, "--update-shallow", "--force", deep, "--", url, ...refspecs];
  await git.run(args, { folder, signal, ...(access === undefined ? {} : { access }) });
}

/** The commit that a name of the mirror, or an object id, stands for; undefined when it has none. */
async function commitOf({ git, folder, signal }: FetchOptions, name: string): Promise<string | undefined> {
  const args = ["cat-file", "--batch-check"];
  const process = git.start(args, { folder, signal });
  process.stdin.end(`${name}^{commit}\n`);
  const said = Buffer.concat(await process.stdout.toArray()).toString("latin1");
  await process.ended.catch((error: unknown) => {
    throw from(error, "looking for a commit in the mirror");
  });
  const [commit = "", type] = said.trim().split(" ");
  if (type !== "commit") return undefined;
  if (!isCommitId(commit)) throw new MillraceError("data_loss", `the mirror says that ${name} is ${commit}`);
  return commit;
}

/** Names of the mirror's own, whatever the remote's look like. */
function ownRef(name: string): string {
  return `refs/millrace/${hash("sha256", name).slice(0, 32)}`;
}

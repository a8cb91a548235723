import { create, toBinary } from "@bufbuild/protobuf";
import {
  OutputDirectorySchema,
  OutputFileSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ImportPhase, type SourceImport } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, GitSourceSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../shared/cas/cas.ts";
import type { Clock } from "../../shared/clock.ts";
import { digestOf, digestToMessage } from "../../shared/digest.ts";
import { from, MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { checkRef, isCommitId, parseRepository } from "../../shared/source/repository.ts";
import { type Assignment, conclusion, type Executor, Refused } from "../executor/executor.ts";
import type { Patiently } from "../retry.ts";
import type { Access } from "./access.ts";
import { describeCommit } from "./describe-commit.ts";
import { type FetchOptions, fetchCommit, fetchOld } from "./fetch-commit.ts";
import type { Git } from "./git.ts";
import { importTree } from "./import-tree.ts";
import type { Mirror, Mirrors } from "./mirrors.ts";
import { type ObjectReader, openObjects } from "./object-reader.ts";

export interface ImportingOptions {
  readonly git: Git;
  readonly mirrors: Mirrors;
  readonly farm: Pick<Cas, "findMissing" | "write" | "writeMany">;
  readonly patiently: Patiently;
  /** Absolute paths below which repositories may lie. */
  readonly allowedPaths: readonly string[];
  /** See `importTree`. */
  readonly maxBytes: number;
  /** What opens the repository of a request, whose credentials are in the secrets of the assignment. */
  readonly accessOf: (request: SourceImport, secrets: Assignment["secrets"]) => Access;
  readonly clock: Clock;
}

/** Puts the commit that a SourceImport asks for into the CAS. Done a second time, also elsewhere, it gives the same. */
export function importingExecutor(options: ImportingOptions): Executor<Assignment> {
  const { mirrors, accessOf, clock } = options;

  return {
    async execute(task, stop) {
      const { importing } = task;
      if (importing === undefined) throw new MillraceError("internal", `${task.executionId} is no import`);
      check(importing.request, options.allowedPaths);
      const started = task.time.now();
      const overdue = new AbortController();
      const after = `it took longer than ${limits.importTimeoutMs / 60_000} minutes`;
      const cancel = clock.after(limits.importTimeoutMs, () => overdue.abort(new Refused(after)));
      const signal = AbortSignal.any([stop, overdue.signal]);
      try {
        await using access = accessOf(importing.request, task.secrets);
        const { url } = importing.request;
        const done = await mirrors.use(url, signal, (mirror, inner) =>
          importInto(mirror, { ...options, request: importing.request, access, signal: inner, tell: importing.tell }),
        );
        done.times.executionStartTimestamp = started;
        done.times.executionCompletedTimestamp = task.time.now();
        return done;
      } catch (error) {
        throw overdue.signal.aborted ? overdue.signal.reason : error;
      } finally {
        cancel();
      }
    },
  };
}

interface Importing extends ImportingOptions {
  readonly request: SourceImport;
  readonly access: Access;
  readonly tell: (phase: ImportPhase) => void;
  readonly signal: AbortSignal;
}

async function importInto(
  mirror: Mirror,
  { git, farm, patiently, maxBytes, request, access, tell, signal }: Importing,
) {
  const { url, ref, whole } = request;
  const { folder, objects } = mirror;
  tell(ImportPhase.FETCHING);
  const { environment } = access;
  const fetching: FetchOptions = { git, folder, url, ref, access: environment, onFetch: mirror.fetched, signal };
  const fetched = await fetchCommit(fetching);
  const previous = previousOf(request, fetched.branch);
  const isKnown = previous !== "" && previous.length === fetched.commit.length && (await fetchOld(fetching, previous));
  const source = await describeCommit(fetched, { git, folder, url, ref, previous, isKnown, signal });
  tell(ImportPhase.UPLOADING);
  const reader = openObjects({ git, folder, signal });
  try {
    const tree = await treeOf(reader, fetched.commit);
    const { root } = await importTree(tree, { reader, objects, cas: farm, patiently, whole, maxBytes, signal });
    const data = toBinary(GitSourceSchema, source);
    const digest = digestOf(data);
    await patiently(signal, "uploading the source", () => farm.writeMany([{ digest, data }], signal));
    const done = conclusion({ kind: EndingKind.EXITED, exitCode: 0 });
    const rootDirectoryDigest = digestToMessage(root);
    done.result.outputDirectories.push(create(OutputDirectorySchema, { path: "source", rootDirectoryDigest }));
    done.result.outputFiles.push(create(OutputFileSchema, { path: "git", digest: digestToMessage(digest) }));
    return done;
  } finally {
    reader.close();
  }
}

/** The root tree of a commit: the first line of the commit object. */
async function treeOf(reader: ObjectReader, commit: string): Promise<string> {
  let tree: string | undefined;
  for await (const object of reader.read([commit])) {
    if (object.sizeBytes > limits.gitTreeBytes) throw new Refused(`the commit ${commit} says more than anybody reads`);
    tree = /^tree ([0-9a-f]+)\n/.exec((await object.whole()).toString("latin1"))?.[1];
  }
  if (tree !== undefined) return tree;
  throw new MillraceError("data_loss", `the mirror has no commit ${commit} that names a tree`);
}

/** Empty when there was none, and for what is on no branch. */
function previousOf({ previous }: SourceImport, branch: string): string {
  const commit = previous.find((last) => last.branch === branch)?.commit ?? "";
  return branch !== "" && isCommitId(commit) ? commit : "";
}

/** Whatever the coordinator says: it is the agent's machine that git runs on. */
function check({ url, ref }: SourceImport, allowedPaths: readonly string[]): void {
  try {
    const { kind } = parseRepository(url);
    if (ref !== "") checkRef(ref);
    if (kind !== "path") return;
  } catch (error) {
    throw new Refused(from(error).message, { cause: error });
  }
  if (allowedPaths.some((path) => url === path || url.startsWith(path.endsWith("/") ? path : `${path}/`))) return;
  throw new Refused(`this agent may not read ${url}: its operator allows paths with --source-path`);
}

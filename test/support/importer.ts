import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { onTestFinished } from "vitest";
import { openAgentDatabase } from "../../agent/database.ts";
import { concludingExecutor } from "../../agent/executor/concluding-executor.ts";
import { type Assignment, type Conclusion, type Executor, taskTime } from "../../agent/executor/executor.ts";
import { patience } from "../../agent/retry.ts";
import { gitProgram } from "../../agent/source/git.ts";
import { importingExecutor } from "../../agent/source/importing-executor.ts";
import { openMirrors } from "../../agent/source/mirrors.ts";
import { repositoryAccess } from "../../agent/source/repository-access.ts";
import { EpochSchema, type ImportPhase, SourceImportSchema } from "../../proto/gen/millrace/v1/dispatch_pb.ts";
import { EndingKind, type GitSource, GitSourceSchema } from "../../proto/gen/millrace/v1/event_pb.ts";
import type { Cas } from "../../shared/cas/cas.ts";
import { memoryCas } from "../../shared/cas/memory-cas.ts";
import { readBlob, readMessage } from "../../shared/cas/read-blob.ts";
import { systemClock } from "../../shared/clock.ts";
import { type Digest, digestFromMessage, digestKey, emptyDigest } from "../../shared/digest.ts";
import type { MillraceError } from "../../shared/errors.ts";
import { limits } from "../../shared/limits.ts";
import { loadTree } from "../../shared/merkle/load-tree.ts";
import { tempDir } from "./temp-dir.ts";

export interface ImporterOptions {
  /** A data folder of an agent; default a new one. */
  readonly dir?: string;
  readonly cas?: ReturnType<typeof memoryCas>;
  readonly allowedPaths?: readonly string[];
  readonly maxBytes?: number;
  /** Of every repository. */
  readonly credentials?: string;
  readonly knownHosts?: string;
  readonly trustFirstHostKey?: boolean;
}

export interface ImportAsked {
  readonly url: string;
  readonly ref?: string;
  /** Commits of branches. */
  readonly previous?: Readonly<Record<string, string>>;
  readonly whole?: boolean;
  readonly stop?: AbortSignal;
  readonly onPhase?: (phase: ImportPhase) => void;
}

/** What an import came to. */
export interface Imported {
  readonly root: Digest;
  readonly git: GitSource;
  /** Contents by path; a symlink as `-> target`, an executable file with `!` behind its path. */
  readonly files: Readonly<Record<string, string>>;
}

/** The part of an agent that imports sources, on a real git and a real database, with a CAS that counts. */
export async function openImporter({
  dir = tempDir(),
  cas = memoryCas(),
  allowedPaths = [],
  maxBytes = limits.sourceBytes,
  credentials,
  ...hostKeys
}: ImporterOptions = {}) {
  const errors: MillraceError[] = [];
  const onError = (error: MillraceError) => void errors.push(error);
  const database = await openAgentDatabase({ path: join(dir, "agent.sqlite"), onError });
  onTestFinished(() => database.close());
  const sent: string[] = [];
  const counting: Pick<Cas, "findMissing" | "write" | "writeMany"> = {
    findMissing: (...call) => cas.findMissing(...call),
    async write(digest, ...rest) {
      await cas.write(digest, ...rest);
      sent.push(digestKey(digest));
    },
    async writeMany(blobs, signal) {
      await cas.writeMany(blobs, signal);
      sent.push(...blobs.map(({ digest }) => digestKey(digest)));
    },
  };
  const folder = join(dir, "source");
  mkdirSync(folder, { recursive: true });
  const path = process.env.PATH ?? "";
  const git = gitProgram({ path, folder, allowedPaths });
  const mirrors = await openMirrors({ database, folder: join(folder, "mirrors"), clock: systemClock, onError });
  const importing = importingExecutor({
    ...{ git, mirrors, farm: counting, allowedPaths, maxBytes, clock: systemClock },
    patiently: patience(systemClock, onError),
    accessOf: (request) => repositoryAccess({ ...request, credentials, path, folder }),
  });
  const executor: Executor<Assignment> = concludingExecutor(importing, { owner: "the test", folder: dir });
  let count = 0;

  function execute({ url, ref = "", previous = {}, whole = false, stop, onPhase }: ImportAsked): Promise<Conclusion> {
    const commits = Object.entries(previous).map(([branch, commit]) => ({ branch, commit }));
    const request = create(SourceImportSchema, { url, ref, previous: commits, whole, ...hostKeys });
    const assignment: Assignment = {
      ...{ executionId: `import.${count++}`, epoch: create(EpochSchema), attempt: 1, actionDigest: emptyDigest },
      ...{ blobs: [], volatileEnvironment: {}, time: taskTime(systemClock) },
      importing: { request, tell: (phase) => onPhase?.(phase) },
    };
    return executor.execute(assignment, stop ?? new AbortController().signal);
  }

  return {
    ...{ cas, dir, folder, errors, execute },
    /** Keys of the blobs that were sent since the last call. */
    sent: () => sent.splice(0),
    async import(asked: ImportAsked): Promise<Imported> {
      const { ending, result } = await execute(asked);
      if (ending.kind !== EndingKind.EXITED) throw new Error(`ending ${ending.kind}: ${ending.detail}`);
      const root = digestFromMessage(result.outputDirectories[0]?.rootDirectoryDigest);
      const git = await readMessage(cas, GitSourceSchema, digestFromMessage(result.outputFiles[0]?.digest));
      return { root, git, files: await filesOf(cas, root) };
    },
    /** Why an import was refused; throws when it was not. */
    async refusal(asked: ImportAsked): Promise<string> {
      const { ending } = await execute(asked);
      if (ending.kind !== EndingKind.REFUSED) throw new Error(`ending ${ending.kind}: ${ending.detail}`);
      return ending.detail;
    },
  };
}

async function filesOf(cas: Cas, root: Digest): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const { path, node } of await loadTree(cas, root)) {
    if (node.kind === "symlink") files[path] = `-> ${node.target}`;
    else if (node.kind === "file") {
      const text = Buffer.from(await readBlob(cas, node.digest)).toString("utf8");
      files[node.executable ? `${path}!` : path] = text;
    }
  }
  return files;
}

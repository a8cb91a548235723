import type { ConcurrencyGroup, GitSource, PlannedTask } from "../../../proto/gen/millrace/v1/event_pb.ts";
import type { RunRequest } from "../../../proto/gen/millrace/v1/run_pb.ts";
import type { Blob, Cas } from "../../../shared/cas/cas.ts";
import { distinct } from "../../../shared/cas/distinct.ts";
import { missingBlobs } from "../../../shared/cas/missing-blobs.ts";
import { readBlob } from "../../../shared/cas/read-blob.ts";
import type { Digest } from "../../../shared/digest.ts";
import { MillraceError } from "../../../shared/errors.ts";
import { limits } from "../../../shared/limits.ts";
import { readTree } from "../../../shared/merkle/load-tree.ts";
import type { TreeEntry } from "../../../shared/merkle/tree-entry.ts";
import { gatherIncludes, type ReadFile } from "../../../shared/pipeline/includes.ts";
import { parsePipeline } from "../../../shared/pipeline/parse.ts";
import {
  absentPipelineHint,
  choosePipelinePath,
  isTypeScript,
  pipelinePathsOf,
} from "../../../shared/pipeline/pipeline-path.ts";
import { planRun } from "../../../shared/pipeline/plan.ts";
import type { PlanContext } from "../../../shared/pipeline/plan-context.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import type { EvaluatedPipeline } from "../evaluation/pipeline-evaluations.ts";
import { projectNamed } from "../project/projects.ts";
import { invalidPipeline } from "./invalid-pipeline.ts";
import { type KeptPlans, questionOf } from "./kept-plans.ts";

export interface SourcePlan {
  readonly pipeline: string;
  readonly pipelinePath: string;
  /** Values of its parameters, defaults included, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly tasks: readonly PlannedTask[];
  readonly concurrency?: ConcurrencyGroup | undefined;
  /** What the pipeline file gave, when it is in TypeScript. */
  readonly evaluated?: Digest | undefined;
  /** What the plan refers to by digest. */
  readonly blobs: readonly Blob[];
}

export interface PlanSourceDeps {
  readonly cas: Cas;
  readonly offers: () => readonly ToolOffer[];
  readonly kept: KeptPlans;
  /** Where the source came from; undefined when that was no repository. */
  readonly git?: GitSource | undefined;
  readonly evaluate: Evaluate;
}

/** Has a pipeline file in TypeScript evaluated. @param file its path @param source what it is part of */
export type Evaluate = (file: string, source: readonly TreeEntry[], signal: AbortSignal) => Promise<EvaluatedPipeline>;

/**
 * Reads the pipeline file out of a source tree and plans it. Throws `invalid_argument` with every problem as a field
 * violation (`field` is file:line:column), `failed_precondition` when blobs of the tree are missing, naming some.
 *
 * What was planned lately is not planned again: the plan follows from the tree, the request, the offers and what git says. It is
 * taken as it is only while all that it rests on is stored, its own blobs included, so `blobs` is then empty.
 */
export async function planSource(
  { cas, offers, kept, git, evaluate }: PlanSourceDeps,
  request: RunRequest,
  source: Digest,
  signal: AbortSignal,
): Promise<SourcePlan> {
  const { pipelinePath, stages, tasks } = request;
  const asked = { source, pipelinePath, stages, tasks, offers: offers(), context: contextOf(request, git) };
  const question = questionOf(asked);
  const known = kept.find(question);
  if (known !== undefined && (await cas.findMissing(known.restsOn, signal)).length === 0) {
    const { restsOn: _, ...plan } = known;
    return { ...plan, blobs: [] };
  }
  const { plan, restsOn } = await planAnew({ cas, evaluate }, asked, signal);
  const { blobs: _blobs, ...worthKeeping } = plan;
  kept.keep(question, { ...worthKeeping, restsOn });
  return plan;
}

interface Asked {
  readonly source: Digest;
  /** As it was asked for: a path, a name, or nothing. */
  readonly pipelinePath: string;
  readonly stages: readonly string[];
  readonly tasks: readonly string[];
  readonly offers: readonly ToolOffer[];
  readonly context: PlanContext;
}

/** What expressions and conditions know of a run. */
export function contextOf(
  { project, params }: Pick<RunRequest, "project" | "params">,
  git: GitSource | undefined,
): PlanContext {
  const { branch = "", commit = "", ref = "" } = git ?? {};
  const isTag = branch === "" && ref !== "" && ref !== commit;
  return {
    ...{
      branch,
      commit,
      tag: isTag ? ref.replace(/^refs\/tags\//, "") : "",
      trigger: "manual",
      params,
      isSample: false,
    },
    project: projectNamed(project),
    changedPaths: git?.changedPathsKnown === true ? git.changedPaths : undefined,
  };
}

async function planAnew(
  { cas, evaluate }: Pick<PlanSourceDeps, "cas" | "evaluate">,
  { source, pipelinePath: given, context, ...selection }: Asked,
  signal: AbortSignal,
): Promise<{ readonly plan: SourcePlan; readonly restsOn: readonly Digest[] }> {
  const { entries, directories, files } = await readSource(cas, source, signal);
  const pipelinePath = pipelineFileIn(entries, given);
  const evaluated = isTypeScript(pipelinePath) ? await evaluate(pipelinePath, entries, signal) : undefined;
  const { text, readFile } = await readPipeline(cas, entries, { pipelinePath, evaluated: evaluated?.text }, signal);
  const parsed = parsePipeline(text, pipelinePath, { context, readFile });
  if (parsed.pipeline === undefined) throw invalidPipeline(parsed.problems);
  const { tasks, concurrency, blobs, problems } = planRun({ pipeline: parsed.pipeline, source: entries, ...selection });
  if (problems.length > 0) throw invalidPipeline(problems);
  const gave = evaluated === undefined ? [] : [evaluated.digest];
  const restsOn = distinct([...directories, ...files, ...gave, ...blobs.map(({ digest }) => digest)]);
  const { name, params } = parsed.pipeline;
  const plan = { pipeline: name, pipelinePath, params, tasks, concurrency, evaluated: evaluated?.digest, blobs };
  return { plan, restsOn };
}

/** A source of which every blob is there. @throws MillraceError failed_precondition when some are not */
export async function readSource(cas: Cas, source: Digest, signal: AbortSignal) {
  const tree = await readTree(cas, source, signal);
  return { ...tree, files: await requireFiles(cas, tree.entries, signal) };
}

/** The path of the pipeline file that is meant. @throws MillraceError invalid_argument when there is none, or there are two */
export function pipelineFileIn(entries: readonly TreeEntry[], given: string): string {
  const files = entries.flatMap(({ path, node }) => (node.kind === "file" ? [path] : []));
  const isFile = (asked: string) => files.includes(asked);
  const path = choosePipelinePath(given, isFile);
  if (isFile(path)) return path;
  throw new MillraceError(
    "invalid_argument",
    `the source has no file ${pipelinePathsOf(given).join(" or ")}: ${absentPipelineHint(path, files)}`,
  );
}

interface PipelineFile {
  /** A file of the source. */
  readonly pipelinePath: string;
  /** What it gave, when it is in TypeScript. */
  readonly evaluated: string | undefined;
}

/** The text that is planned from, with the files that it includes. @throws MillraceError invalid_argument */
export async function readPipeline(
  cas: Cas,
  entries: readonly TreeEntry[],
  { pipelinePath, evaluated }: PipelineFile,
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly readFile: ReadFile }> {
  const byPath = new Map(entries.map(({ path, node }) => [path, node]));
  const read = async (path: string): Promise<string | undefined> => {
    const node = byPath.get(path);
    if (node?.kind !== "file") return undefined;
    if (node.digest.sizeBytes > limits.pipelineFileBytes)
      throw new MillraceError("invalid_argument", `${path} is larger than ${limits.pipelineFileBytes} bytes`);
    return new TextDecoder().decode(await readBlob(cas, node.digest, signal));
  };
  const text = evaluated ?? (await read(pipelinePath)) ?? "";
  const included = await gatherIncludes(text, pipelinePath, read);
  return { text, readFile: (path) => included.get(path) };
}

/**
 * A run must not find out in an hour that a file of its source never came. So clients need not ask about what they sent
 * before: they submit, and upload all when this refuses.
 */
async function requireFiles(cas: Cas, entries: readonly TreeEntry[], signal: AbortSignal): Promise<Digest[]> {
  const files = distinct(entries.flatMap(({ node }) => (node.kind === "file" ? [node.digest] : [])));
  const missing = await cas.findMissing(files, signal);
  // An error's details travel in a trailer, which is small; who is told of some asks about all.
  if (missing.length > 0) throw missingBlobs(missing.slice(0, limits.missingNamed), "reading the source");
  return files;
}

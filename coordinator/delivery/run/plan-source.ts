import { create } from "@bufbuild/protobuf";
import { BadRequestSchema } from "../../../proto/gen/google/rpc/error_details_pb.ts";
import type { ConcurrencyGroup, PlannedTask } from "../../../proto/gen/millrace/v1/event_pb.ts";
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
import { formatProblem } from "../../../shared/pipeline/format-problem.ts";
import { parsePipeline } from "../../../shared/pipeline/parse.ts";
import type { Problem } from "../../../shared/pipeline/pipeline.ts";
import { planRun } from "../../../shared/pipeline/plan.ts";
import type { ToolOffer } from "../../../shared/pipeline/resolve-tools.ts";
import { type KeptPlans, questionOf } from "./kept-plans.ts";

export interface SourcePlan {
  readonly pipeline: string;
  readonly pipelinePath: string;
  readonly tasks: readonly PlannedTask[];
  readonly concurrency?: ConcurrencyGroup | undefined;
  /** What the plan refers to by digest. */
  readonly blobs: readonly Blob[];
}

export interface PlanSourceDeps {
  readonly cas: Cas;
  readonly offers: () => readonly ToolOffer[];
  readonly kept: KeptPlans;
}

/**
 * Reads the pipeline file out of a source tree and plans it. Throws `invalid_argument` with every problem as a field
 * violation (`field` is file:line:column), `failed_precondition` when blobs of the tree are missing, naming some.
 *
 * What was planned lately is not planned again: the plan follows from the tree, the request and the offers alone. It is
 * taken as it is only while all that it rests on is stored, its own blobs included, so `blobs` is then empty.
 */
export async function planSource(
  { cas, offers, kept }: PlanSourceDeps,
  request: RunRequest,
  source: Digest,
  signal: AbortSignal,
): Promise<SourcePlan> {
  const pipelinePath = request.pipelinePath || "millrace.yaml";
  const { stages, tasks: wanted } = request;
  const asked = { source, pipelinePath, stages, tasks: wanted, offers: offers() };
  const question = questionOf(asked);
  const known = kept.find(question);
  if (known !== undefined && (await cas.findMissing(known.restsOn, signal)).length === 0) {
    const { pipeline, tasks, concurrency } = known;
    return { pipeline, pipelinePath, tasks, concurrency, blobs: [] };
  }
  const { plan, restsOn } = await planAnew(cas, asked, signal);
  const { pipeline, concurrency } = plan;
  kept.keep(question, { pipeline, tasks: plan.tasks, concurrency, restsOn });
  return plan;
}

interface Asked {
  readonly source: Digest;
  readonly pipelinePath: string;
  readonly stages: readonly string[];
  readonly tasks: readonly string[];
  readonly offers: readonly ToolOffer[];
}

async function planAnew(
  cas: Cas,
  { source, pipelinePath, ...selection }: Asked,
  signal: AbortSignal,
): Promise<{ readonly plan: SourcePlan; readonly restsOn: readonly Digest[] }> {
  const { entries, directories } = await readTree(cas, source, signal);
  const files = await requireFiles(cas, entries, signal);
  const file = entries.find(({ path }) => path === pipelinePath);
  if (file?.node.kind !== "file") {
    throw new MillraceError(
      "invalid_argument",
      `the source has no file ${pipelinePath}: write one with \`millrace init\`, or name another with --pipeline`,
    );
  }
  if (file.node.digest.sizeBytes > limits.pipelineFileBytes) {
    throw new MillraceError("invalid_argument", `${pipelinePath} is larger than ${limits.pipelineFileBytes} bytes`);
  }
  const text = new TextDecoder().decode(await readBlob(cas, file.node.digest, signal));
  const parsed = parsePipeline(text, pipelinePath);
  if (parsed.pipeline === undefined) throw invalidPipeline(parsed.problems);
  const { tasks, concurrency, blobs, problems } = planRun({ pipeline: parsed.pipeline, source: entries, ...selection });
  if (problems.length > 0) throw invalidPipeline(problems);
  const restsOn = distinct([...directories, ...files, ...blobs.map(({ digest }) => digest)]);
  return { plan: { pipeline: parsed.pipeline.name, pipelinePath, tasks, concurrency, blobs }, restsOn };
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

function invalidPipeline(problems: readonly Problem[]): MillraceError {
  const fieldViolations = problems.map(({ file, line, column, message, hint }) => ({
    field: `${file}:${line}:${column}`,
    description: hint === undefined ? message : `${message} (${hint})`,
  }));
  const value = create(BadRequestSchema, { fieldViolations });
  return new MillraceError("invalid_argument", problems.map(formatProblem).join("\n"), {
    details: [{ desc: BadRequestSchema, value }],
  });
}
